"""Images beside trajectories: each distinct one is a file in ``_images``, named by the digest of its bytes.

A table names them where the environment showed them; what is read back is the data URL that was shown. Files come
before the table that names them, whole and synced, and are never changed, so a kill leaves at most one too many. The
underscore keeps pandas and pyarrow out when they read the folder.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from functools import partial
from pathlib import Path
from typing import BinaryIO

from agentrl.errors import UserError
from agentrl.store.files import write_whole

FOLDER = "_images"
_URL = r"data:image/(png|jpeg|gif|webp);base64,([A-Za-z0-9+/]+={0,2})"
_NAME = rf"{FOLDER}/([0-9a-f]{{64}})\.(png|jpeg|gif|webp)"
_IN_JSON = re.compile(rf'(?<="image": "){_URL}(?=")')  # a quotation mark within a text is escaped, so no text matches
_NAMED_IN_JSON = re.compile(rf'(?<="image": "){_NAME}(?=")')


class Images:
    """What ``folder`` holds, and what will be added to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: dict[str, str] = {}  # by data URL
        self._urls: dict[str, str] = {}  # by name
        self._new: dict[str, bytes] = {}

    def name(self, url: str) -> str:
        """What stands for an image in a table: its file, or the URL itself where that would not come back the same."""
        if url not in self._names:
            match = re.fullmatch(_URL, url)
            self._names[url] = url if match is None else self._add(url, *match.groups())
        return self._names[url]

    def url(self, name: str) -> str:
        """The image as it was shown; the name itself where the file is gone. Raises UserError where it is damaged."""
        if name not in self._urls:
            match = re.fullmatch(_NAME, name)
            file = self.folder / name
            self._urls[name] = name
            if match is not None and file.exists():
                data = file.read_bytes()
                if hashlib.sha256(data).hexdigest() != match[1]:
                    raise UserError(f"{file} is damaged: it is not the image that was stored")
                self._urls[name] = f"data:image/{match[2]};base64,{base64.b64encode(data).decode()}"
        return self._urls[name]

    def names_in(self, json: str) -> str:
        """JSON text with its images named."""
        return _IN_JSON.sub(lambda match: self.name(match[0]), json) if "data:image/" in json else json

    def urls_in(self, json: str) -> str:
        return _NAMED_IN_JSON.sub(lambda match: self.url(match[0]), json) if FOLDER in json else json

    def write(self) -> None:
        """Store what was named and is not there yet."""
        new = {name: data for name, data in self._new.items() if not (self.folder / name).exists()}
        if new:
            write_whole(self.folder / FOLDER, {Path(name).name: partial(_put, data) for name, data in new.items()})
        self._new.clear()

    def _add(self, url: str, kind: str, text: str) -> str:
        try:
            data = base64.b64decode(text, validate=True)
        except binascii.Error:
            return url
        if base64.b64encode(data).decode() != text:
            return url
        name = f"{FOLDER}/{hashlib.sha256(data).hexdigest()}.{kind}"
        self._new[name] = data
        return name


def _put(data: bytes, file: BinaryIO) -> None:
    file.write(data)
