"""What users want: 46 kinds of tasks."""

from collections.abc import Callable

from agentrl.envs.office.draft import Draft
from agentrl.envs.office.jobs import calendar, files, mail, shop

JOBS: dict[str, Callable[[Draft], None]] = {
    job.__name__: job for module in (mail, calendar, files, shop) for job in module.JOBS
}
