"""Names of headings as GitHub makes them, so that the same links work there and on the site."""

import re


def github(title: str, separator: str) -> str:
    """mkdocs' toc extension calls this with the text of a heading."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", separator)
