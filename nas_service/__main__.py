"""`python -m nas_service` is `nas`."""

import sys

from nas_service.cli import main

sys.exit(main())
