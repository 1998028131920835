"""The platform's ASGI app: native API and web page."""
