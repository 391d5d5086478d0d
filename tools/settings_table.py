"""Write the tables of settings in docs/reference/config.md; `--check` only compares.

Usage: python tools/settings_table.py [--check]
"""

import sys
from pathlib import Path

from servetwin.cli.options import flag_of
from servetwin.cli.settings import RunSettings
from servetwin.cli.simulate import PANELS

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "config.md"
BEGIN, END = "<!-- settings: tools/settings_table.py writes this -->\n", "<!-- end -->\n"


def tables() -> str:
    """One table for each heading of `servetwin simulate --help`."""
    panels: dict[str, list[str]] = {}
    for name, field in RunSettings.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        if not extra["panel"]:
            continue  # has no flag: only a saved run holds it
        default = "" if field.default is None else f"`{str(field.default).lower()}`"
        if isinstance(field.default, str):
            default = f"`{field.default}`"
        row = f"| `{name}` | `{flag_of(name)}` | {default} | {field.description} |"
        panels.setdefault(str(extra["panel"]), []).append(row)
    head = "| key | flag | default | meaning |\n|---|---|---|---|\n"
    return "\n".join(f"### {panel}\n\n{head}" + "\n".join(panels[panel]) + "\n" for panel in PANELS)


def main() -> int:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = f"{before}{BEGIN}\n{tables()}\n{END}{after}"
    if "--check" in sys.argv:
        if text != wanted:
            print(f"{PAGE.name} is not what the settings are: run python tools/settings_table.py")
        return int(text != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
