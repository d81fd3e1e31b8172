"""A lean HTTP/1.1 client (and a loopback server) over asyncio and httptools, for bytes that only pass through.

- `failures.py`: everything that can go wrong, as exceptions without an expert's name
- `response.py`: a response while it is being read
- `connection.py`: one connection, as an asyncio protocol
- `upstream_request.py`: what is sent; `waiting.py`: while there is no connection for it
- `redirects.py`: other paths of the same origin; `decoding.py`: compression that nobody asked for
- `client.py`: the connections to one origin: keep-alive, limits, queue, one retry of a stale connection
- `server.py`: the smallest server that can play an upstream, for the embedded engine and the fake expert

Why not a ready-made client: docs/design/0010-http-client.md.
"""
