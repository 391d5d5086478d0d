"""`servetwin study dejavu-fig17`."""

from servetwin.studies.dejavu.figures import app_of

__all__ = ["app"]

app = app_of(17)
