"""`python -m qenex.api.graphql > spec/schema.graphql` writes the copy of the schema that is committed."""

import sys

from qenex.api.graphql.query import make_schema


def text() -> str:
    """The schema in its own language, as spec/schema.graphql has it."""
    return make_schema().as_str().strip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
