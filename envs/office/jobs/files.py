"""Jobs about files. Each function writes one kind of task: a program of its own for the expert."""

from __future__ import annotations

from agentrl.envs.office.database import Row
from agentrl.envs.office.draft import Draft


def _reports(d: Draft, n: int) -> tuple[str, list[Row], list[int]]:
    """A folder of reports with a figure each, all different."""
    folder = d.word()
    figures = d.rng.sample(range(101, 9999), n)
    return folder, [d.file(f"{folder}/{d.word()}.txt", f"sales {figure}") for figure in figures], figures


def _reads(d: Draft, files: list[Row]) -> None:
    d.do("list_files")
    for file in sorted(files, key=lambda file: str(file["path"])):
        d.do("read_file", path=file["path"])


def mail_figure(d: Draft) -> None:
    who = d.person()
    _, files, figures = _reports(d, 2)
    d.says(f"Mail {who['name']} the sales in {files[0]['path']}.")
    d.do("read_file", path=files[0]["path"])
    d.looks_up(who)
    d.sends(who, figures[0])


def add_up(d: Draft) -> None:
    folder, files, figures = _reports(d, d.rng.randint(2, 3))
    path = f"{d.word()}.txt"
    d.says(f"Add up the sales in all files of the folder {folder} and write the sum alone into {path}.")
    _reads(d, files)
    d.do("write_file", path=path, text=str(sum(figures)))


def delete_lowest(d: Draft) -> None:
    folder, files, figures = _reports(d, 3)
    d.says(f"Delete the file of the folder {folder} that has the lowest sales.")
    _reads(d, files)
    d.do("delete_file", path=files[figures.index(min(figures))]["path"])


def copy(d: Draft) -> None:
    folder, files, _ = _reports(d, 2)
    path = f"{folder}/{d.word()}.txt"
    d.says(f"Make a copy of {files[1]['path']} named {path}.")
    d.do("read_file", path=files[1]["path"])
    d.do("write_file", path=path, text=files[1]["text"])


def rename(d: Draft) -> None:
    folder, files, _ = _reports(d, 2)
    path = f"{folder}/{d.word()}.txt"
    d.says(f"Rename {files[0]['path']}. Ask me for the new name.")
    d.keeps_back(("name", "what", "which"), f"{path}, please.", "What is the new name?")
    d.do("read_file", path=files[0]["path"])
    d.do("write_file", path=path, text=files[0]["text"])
    d.do("delete_file", path=files[0]["path"])


def extend(d: Draft) -> None:
    _, files, _ = _reports(d, 2)
    word = d.word()
    d.says(f"Add the word {word} at the end of {files[0]['path']}, and keep what is in it.")
    d.do("read_file", path=files[0]["path"])
    d.do("write_file", path=files[0]["path"], text=f"{files[0]['text']} {word}")


def which_mentions(d: Draft) -> None:
    folder, files, _ = _reports(d, 3)
    word = d.word()
    chosen = d.rng.choice(files)
    chosen["text"] += f" {word}"
    d.says(f"Which file of the folder {folder} mentions the word {word}? Give its path.")
    _reads(d, files)
    d.answer = chosen["path"]


def correct_by_mail(d: Draft) -> None:
    who = d.person()
    folder, files, _ = _reports(d, 2)
    name, figure = files[0]["path"], d.number()
    mail = d.mail(who, f"The right sales are {figure}.", f"correction {folder}")
    d.says(f"{who['name']} sent the right sales for {name} by mail. Write them into the file in place of the old.")
    d.finds(mail, f"correction {folder}")
    d.do("read_file", path=name)
    d.do("write_file", path=name, text=f"sales {figure}")


def company_of_author(d: Draft) -> None:
    who = d.person()
    file = d.file(f"{d.word()}/{d.word()}.txt", f"written by {who['name']}")
    d.says(f"For which company does the author of {file['path']} work?")
    d.do("read_file", path=file["path"])
    d.looks_up(who)
    d.answer = who["company"]


def send_to_all(d: Draft) -> None:
    people = d.people(2)
    word = d.word()
    file = d.file(f"{d.word()}/{d.word()}.txt", ", ".join(str(person["name"]) for person in people))
    d.says(f"Send everybody who is listed in {file['path']} a mail that says {word}.")
    d.do("read_file", path=file["path"])
    for person in people:
        d.looks_up(person)
        d.sends(person, word)


def larger_of_two(d: Draft) -> None:
    who = d.person()
    _, files, figures = _reports(d, 2)
    d.says(f"Compare the sales in {files[0]['path']} and {files[1]['path']}, and mail {who['name']} the higher figure.")
    for file in files:
        d.do("read_file", path=file["path"])
    d.looks_up(who)
    d.sends(who, max(figures))
