import pytest

from trimtab.cli.plan import Param
from trimtab.cli.progress import Progress, told
