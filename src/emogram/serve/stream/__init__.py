"""Live sound over WebSocket: the protocol of this service, and that of Vosk for clients that speak it already."""
