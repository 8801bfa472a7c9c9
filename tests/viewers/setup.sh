#!/usr/bin/env bash
# What `make test-viewers` needs: Debian packages, and two npm packages unpacked below .cache/viewers of this clone.
# No npm package is installed, only unpacked: none of their scripts run and no dependency comes along.
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=$PWD/.cache/viewers
mkdir -p "$cache"

missing=()
need() { command -v "$1" > /dev/null || missing+=("$2"); }
need Orthanc orthanc
need chromium chromium
need dciodvfy dicom3tools
need dsrdump dcmtk
need dcm2niix dcm2niix
need node nodejs
need npm npm
[ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || missing+=(orthanc-dicomweb)
if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get > /dev/null || { echo "install ${missing[*]} first: this system has no apt-get" >&2; exit 1; }
    as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
    "${as_root[@]}" apt-get update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
fi

# unpack PACKAGE VERSION FOLDER: the package's files in FOLDER, unless this version is there already
unpack() {
    local folder=$cache/$3 stamp=$cache/$3/.version
    [ "$(cat "$stamp" 2> /dev/null)" = "$2" ] && return
    rm -rf "$folder"
    mkdir -p "$folder"
    (cd "$cache" && tar xzf "$(npm pack --silent "$1@$2" | tail -1)" -C "$folder" --strip-components=1 --exclude='*.map')
    echo "$2" > "$stamp"
}
unpack @ohif/app 3.13.2 ohif
# A version for the Node.js of Debian 12, which is 18; later ones want 20.
unpack playwright-core 1.60.0 node_modules/playwright-core
unpack @niivue/niivue 0.69.0 niivue
rm -f "$cache"/*.tgz
