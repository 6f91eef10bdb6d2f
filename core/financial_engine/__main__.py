"""`python -m core.financial_engine`: the ledger engine as a process."""

import sys

from qenex.engine import main

sys.exit(main())
