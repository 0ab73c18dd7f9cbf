"""Jobs about mail and contacts. Each function writes one kind of task: a program of its own for the expert."""

from __future__ import annotations

from agentrl.envs.office.draft import COMPANIES, Draft


def tell_phone(d: Draft) -> None:
    who, other = d.people(2)
    d.says(f"Send {who['name']} the phone number of {other['name']}.")
    d.looks_up(who, other)
    d.sends(who, other["phone"])


def tell_several(d: Draft) -> None:
    first, second, other = d.people(3)
    d.says(f"Let {first['name']} and {second['name']} know the birthday of {other['name']}, a mail to each.")
    d.looks_up(other, first, second)
    d.sends(first, other["birthday"])
    d.sends(second, other["birthday"])


def reply(d: Draft) -> None:
    who = d.person()
    topic, code = d.word(), d.number()
    mail = d.mail(who, f"What is the code of the {topic}?", f"{topic}")
    d.says(f"{who['name']} wants to know something about the {topic}. Find the mail and reply; ask me what you need.")
    d.finds(mail, topic)
    d.keeps_back(("code",), f"The code is {code}.", f"What is the code of the {topic}?")
    d.looks_up(who)
    d.sends(who, code)


def delete_from(d: Draft) -> None:
    who = d.person()
    mails = [d.mail(who, f"Buy one {d.word()}, get one free.", f"offer {d.word()}") for _ in range(d.rng.randint(2, 3))]
    d.says(f"Delete all mails from {who['name']}.")
    d.do("search_mail", words=who["mail"])
    for mail in sorted(mails, key=lambda mail: int(mail["id"])):
        d.do("delete_mail", id=mail["id"])


def delete_one(d: Draft) -> None:
    who = d.person()
    topics = [d.word() for _ in range(3)]
    mails = [d.mail(who, f"All about the {topic}.", f"news {topic}") for topic in topics]
    d.says(f"One of the mails from {who['name']} has to go. Ask me about which subject it is.")
    d.keeps_back(("subject", "which", "about"), f"The one about the {topics[0]}.", "About which subject is it?")
    d.do("search_mail", words=topics[0])
    d.do("delete_mail", id=mails[0]["id"])


def pass_on_amount(d: Draft) -> None:
    who, clerk = d.people(2)
    item, amount = d.word(), d.number()
    mail = d.mail(clerk, f"For the {item} you owe {amount} euros until {d.day()}.", f"invoice {item}")
    d.says(f"Mail {who['name']} how many euros the invoice for the {item} is about.")
    d.finds(mail, f"invoice {item}")
    d.looks_up(who)
    d.sends(who, amount)


def add_invoices(d: Draft) -> None:
    who, clerk = d.people(2)
    items, amounts = [d.word(), d.word()], [d.number(), d.number()]
    mails = [d.mail(clerk, f"You owe {a} euros.", f"invoice {item}") for item, a in zip(items, amounts, strict=True)]
    d.says(f"Mail {who['name']} what the invoices for the {items[0]} and the {items[1]} come to together.")
    for mail, item in zip(mails, items, strict=True):
        d.finds(mail, f"invoice {item}")
    d.looks_up(who)
    d.sends(who, sum(amounts))


def due_day(d: Draft) -> None:
    clerk = d.person()
    item, day = d.word(), d.day()
    mail = d.mail(clerk, f"Please pay {d.number()} euros until {day}.", f"invoice {item}")
    d.says(f"Until which day must the invoice for the {item} be paid?")
    d.finds(mail, f"invoice {item}")
    d.answer = day


def introduce(d: Draft) -> None:
    who, expert = d.people(2)
    topic = d.word()
    mail = d.mail(who, f"For the {topic} I recommend {expert['name']}.", f"{topic}")
    day = d.day()
    d.says(f"{who['name']} recommends somebody for the {topic} in a mail. Write to that person: come on {day}.")
    d.finds(mail, topic)
    d.looks_up(expert)
    d.sends(expert, day)


def keep_text(d: Draft) -> None:
    who = d.person()
    topic, number = d.word(), d.number()
    path = f"archive/{d.word()}.txt"
    mail = d.mail(who, f"{topic} {number}", f"record {topic}")
    d.says(f"Keep the text of the mail from {who['name']} about the {topic} in the file {path}.")
    d.finds(mail, topic)
    d.do("write_file", path=path, text=mail["body"])


def new_phone(d: Draft) -> None:
    who = d.person()
    phone = f"555-{d.number():04}"
    mail = d.mail(who, f"I can be reached at {phone} from now on.", "new number")
    d.says(f"{who['name']} wrote to say that the phone number has changed. Bring the contact up to date.")
    d.finds(mail, who["mail"])
    d.do("update_contact", name=who["name"], field="phone", value=phone)


def new_company(d: Draft) -> None:
    who = d.person()
    company = d.rng.choice([name for name in COMPANIES if name != who["company"]])
    d.says(f"{who['name']} has changed companies. Correct the contact, and ask me for the name.")
    d.keeps_back(("company", "name", "which"), f"It is {company}.", "Which company is it?")
    d.do("update_contact", name=who["name"], field="company", value=company)
