"""Long recordings, worked on one after the other; what was accepted survives the end of the service."""
