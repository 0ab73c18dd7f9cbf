"""What users want: 46 kinds of tasks, each a public function of a module here."""

from collections.abc import Callable

from agentrl.envs.ids import functions_of
from agentrl.envs.office.draft import Draft
from agentrl.envs.office.jobs import calendar, files, mail, shop

JOBS: dict[str, Callable[[Draft], None]] = {
    name: job for module in (mail, calendar, files, shop) for name, job in functions_of(module).items()
}
