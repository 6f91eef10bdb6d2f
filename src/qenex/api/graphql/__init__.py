"""GraphQL: the read side of the API, as one graph.

`types.py` and `query.py` are the schema, `reads.py` what their resolvers read through, `documents.py` and `cost.py`
what is checked before anything is read, `handler.py` the door. `python -m qenex.api.graphql` prints the schema.
"""
