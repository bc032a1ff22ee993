"""The service: clips, jobs, live sound and a page over HTTP and WebSocket, within bounds that are stated.

Importing it loads no web framework, since the processes that decode are of this package too: take what is needed from
its modules, such as `emogram.serve.app.create_app`.
"""
