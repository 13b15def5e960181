"""What routes do for channels that follow another one; nothing for those that do not."""

from __future__ import annotations

from sluice_channel.address import View
from sluice_channel.entry import Entry
from sluice_channel.errors import NoPackageError
from sluice_channel.site import Site


def freshened(site: Site, view: View) -> dict[str, str]:
    """Bring a mirror's index up to date before it is sent; return headers that say when it could not be.

    Blocks for as long as upstream takes.

    Raises:
        MirrorError: upstream does not answer, and what is here is too old.

    """
    if view.at is not None:
        return {}
    freshness = site.follower.freshen(view.channel)
    if freshness is None or not freshness.problem:
        return {}
    # RFC 9111, section 5.5: obsolete, but what clients and proxies of this field know.
    return {"Age": str(freshness.age), "Warning": '110 - "Response is Stale"'}


def known(site: Site, view: View, subdir: str, filename: str) -> Entry:
    """Find a package; a mirror that does not have it looks upstream first. Blocks for as long as upstream takes.

    Raises:
        NoPackageError: there is none.
        MirrorError: upstream does not answer, and what is here is too old.

    """
    try:
        return site.catalogue.entry(view.channel, subdir, filename, view.at)
    except NoPackageError:
        if view.at is not None or site.follower.freshen(view.channel) is None:
            raise
        return site.catalogue.entry(view.channel, subdir, filename)


def fetched(site: Site, view: View, entry: Entry) -> None:
    """Have a package's file before it is sent. Blocks for as long as upstream takes.

    Raises:
        MirrorError: upstream does not give it.

    """
    site.follower.fetch(view.channel, entry)
