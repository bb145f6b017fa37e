"""The Data Push API as a real HTTP server over an embedded database."""
