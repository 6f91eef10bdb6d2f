"""`python -m qenex.api`: the HTTP process. `python -m qenex.api.openapi` prints its OpenAPI document."""

import sys

from qenex.api.server import main

sys.exit(main())
