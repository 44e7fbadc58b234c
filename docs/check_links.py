"""Check that every local link of a built site leads to a page and a place that are there."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse


class _Page(HTMLParser):
    """Places of a page, and what it links to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element's name and link."""
        for name, value in attrs:
            if not value:
                continue
            if name == "id" or (tag == "a" and name == "name"):
                self.places.add(value)
            elif name in ("href", "src"):
                self.links.add(value)


def broken_links(site: Path) -> list[str]:
    """Links of all pages of `site` that lead nowhere."""
    found = (path for path in site.rglob("*.html") if "_static" not in path.parts)
    pages = {path.resolve(): _Page(path) for path in found}
    broken = []
    for path, page in pages.items():
        for link in sorted(page.links):
            if urlparse(link).scheme or link.startswith("//"):
                continue
            target, place = urldefrag(link)
            target = unquote(urlparse(target).path)
            file = (path.parent / target).resolve() if target else path
            if file.is_dir():
                file /= "index.html"
            is_there = file.is_file()
            has_place = file not in pages or not place or unquote(place) in pages[file].places
            if not (is_there and has_place):
                broken.append(f"{path.relative_to(site.resolve())}: {link}")
    return broken


if __name__ == "__main__":
    found = broken_links(Path(sys.argv[1]))
    sys.stderr.write("".join(f"{line}\n" for line in found))
    sys.exit(bool(found))
