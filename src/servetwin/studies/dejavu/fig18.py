"""`servetwin study dejavu-fig18`."""

from servetwin.studies.dejavu.figures import app_of

__all__ = ["app"]

app = app_of(18)
