"""The group of commands."""

import click

from gotsurge_async.cli.auth import auth
from gotsurge_async.cli.doctor import doctor
from gotsurge_async.cli.drafts import drafts
from gotsurge_async.cli.endpoints import endpoints
from gotsurge_async.cli.orgs import orgs
from gotsurge_async.cli.plan import plan
from gotsurge_async.cli.price import price
from gotsurge_async.cli.push import push
from gotsurge_async.cli.resume import resume, retry
from gotsurge_async.cli.runs import resolve, results, runs, status
from gotsurge_async.cli.settle import reconcile, undo
from gotsurge_async.cli.simulator import simulator
from gotsurge_async.cli.tasks import tasks
from gotsurge_async.cli.tracking import tracking
from gotsurge_async.cli.users import users
from gotsurge_async.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="gotsurge")
def gotsurge() -> None:
    """Put delivery orders into GotSurge.

    \b
    Try it without credentials:
      gotsurge push examples/orders.csv --items examples/items.csv --simulate

    Data goes to stdout, everything else to stderr.
    """


gotsurge.add_command(push)
gotsurge.add_command(plan)
gotsurge.add_command(runs)
gotsurge.add_command(status)
gotsurge.add_command(resume)
gotsurge.add_command(results)
gotsurge.add_command(retry)
gotsurge.add_command(reconcile)
gotsurge.add_command(resolve)
gotsurge.add_command(undo)
gotsurge.add_command(simulator)
gotsurge.add_command(doctor)
gotsurge.add_command(endpoints)
gotsurge.add_command(auth)
gotsurge.add_command(tasks)
gotsurge.add_command(price)
gotsurge.add_command(drafts)
gotsurge.add_command(tracking)
gotsurge.add_command(orgs)
gotsurge.add_command(users)
