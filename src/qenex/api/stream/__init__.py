"""The stream: change events over WebSocket, as they happen and from any position before."""
