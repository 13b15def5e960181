#!/usr/bin/env bash
# Install the wheel made from this folder, without what pip notes about where the folder was; and the systemd unit.
set -euo pipefail
"$PYTHON" -m pip install . --no-deps --no-build-isolation --no-index --no-compile -vv
"$PYTHON" - <<'PYTHON'
import csv
import pathlib
import sysconfig

for record in pathlib.Path(sysconfig.get_path("purelib")).glob("sluice*.dist-info/RECORD"):
    (record.parent / "direct_url.json").unlink(missing_ok=True)
    rows = [row for row in csv.reader(record.read_text().splitlines()) if not row[0].endswith("direct_url.json")]
    # Commands are written again by whoever installs the package, with a prefix of their own.
    rows = [[row[0], "", ""] if row[0].startswith("../") else row for row in rows]
    record.write_text("".join(f"{','.join(row)}\n" for row in rows))
PYTHON
mkdir -p "$PREFIX/share/sluice-scheduler"
sed -e "s|[$]sluice|$PREFIX/bin/sluice|" -e 's|[$]config|/etc/sluice/scheduler.toml|' -e 's|[$][$]|$|' \
  src/sluice_scheduler/systemd/system.service >"$PREFIX/share/sluice-scheduler/sluice-scheduler.service"
