"""import.py BASE NAME DIR: gives a folder of a sentence model to a running Ollama, by HTTP, as NAME.

`ollama create` would do, but names each file without its folder: this model has two of the name config.json.
"""

import hashlib
import json
import pathlib
import sys
import time
import urllib.error
import urllib.request

START_SECONDS_MAX = 60


def ask(method, url, body=None):
    return urllib.request.urlopen(urllib.request.Request(url, body, method=method))


def wait_for(base):
    until = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            return ask("GET", f"{base}/api/version").close()
        except urllib.error.URLError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def give(base, path):
    content = path.read_bytes()
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    ask("POST", f"{base}/api/blobs/{digest}", content).close()
    return digest


def main(base, name, folder):
    wait_for(base)
    folder = pathlib.Path(folder)
    found = [*folder.glob("*.safetensors"), *folder.glob("*.json"), *folder.glob("*/config.json")]
    files = {path.relative_to(folder).as_posix(): give(base, path) for path in sorted(found)}
    model = {"model": name, "files": files, "parameters": {"num_thread": 1}}
    with ask("POST", f"{base}/api/create", json.dumps(model).encode()) as answer:
        last = [json.loads(line) for line in answer][-1]
    if last.get("status") != "success":
        sys.exit(f"{name}: {last}")


main(*sys.argv[1:])
