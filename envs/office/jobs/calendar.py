"""Jobs about the calendar. Each function writes one kind of task: a program of its own for the expert."""

from __future__ import annotations

from agentrl.envs.office.draft import HOURS, TITLES, Draft


def book(d: Draft) -> None:
    who, day, hour, title = d.person(), d.day(), d.rng.choice(HOURS), d.word()
    d.says(f"Put a meeting called {title} with {who['name']} into the calendar on {day}. Ask me for the hour.")
    d.keeps_back(("hour", "time", "when"), f"At {hour}.", "At what hour?")
    d.do("add_event", day=day, hour=hour, title=title, guest=who["name"])


def move_later(d: Draft) -> None:
    who, day, title = d.person(), d.day(), d.word()
    event = d.event(day, d.rng.choice(HOURS), title, who)
    other, hour = d.day(day), d.rng.choice(HOURS)
    d.says(f"The meeting called {title} on {day} must move to {other}. Ask me for the hour.")
    d.keeps_back(("hour", "time", "when"), f"At {hour}.", "At what hour?")
    d.do("list_events", day=day)
    d.do("move_event", id=event["id"], day=other, hour=hour)


def cancel_guest(d: Draft) -> None:
    who, day = d.person(), d.day()
    events = [d.event(day, d.rng.choice(HOURS), d.word(), who) for _ in range(d.rng.randint(1, 2))]
    d.says(f"Cancel whatever is planned with {who['name']} on {day}.")
    d.do("list_events", day=day)
    for event in events:
        d.do("cancel_event", id=event["id"])


def first_free(d: Draft) -> None:
    who, day, title = d.person(), d.day(), d.word()
    for hour in HOURS[: d.rng.randint(1, 3)]:
        d.event(day, hour, d.rng.choice(TITLES), d.bystander)
    d.says(f"Put a meeting called {title} with {who['name']} into the first free hour of {day}; hours begin at 8.")
    d.do("list_events", day=day)
    d.do("add_event", day=day, hour=d.free_hour(day), title=title, guest=who["name"])


def accept_proposal(d: Draft) -> None:
    who, day, hour, title = d.person(), d.day(), d.rng.choice(HOURS), d.word()
    mail = d.mail(who, f"Shall we have the {title} on {day} at {hour}?", f"{title}")
    d.says(
        f"{who['name']} proposes a day and an hour for a meeting called {title} in a mail. Put it into the calendar."
    )
    d.finds(mail, title)
    d.do("add_event", day=day, hour=hour, title=title, guest=who["name"])


def answer_proposal(d: Draft) -> None:
    who, day, title = d.person(), d.day(), d.word()
    event = d.event(day, d.rng.choice(HOURS), d.rng.choice(TITLES), d.bystander)
    free = d.rng.random() < 0.5
    hour = d.free_hour(day) if free else event["hour"]
    mail = d.mail(who, f"Shall we have the {title} on {day} at {hour}?", f"{title}")
    d.says(
        f"{who['name']} proposes a meeting called {title} in a mail. Put it into the calendar if the hour is free; "
        "if it is not, only mail back: busy."
    )
    d.finds(mail, title)
    d.do("list_events", day=day)
    if free:
        d.do("add_event", day=day, hour=hour, title=title, guest=who["name"])
    else:
        d.looks_up(who)
        d.sends(who, "busy")


def first_meeting(d: Draft) -> None:
    who = d.person()
    events = [d.event(d.day(), d.rng.choice(HOURS), d.word(), who) for _ in range(3)]
    first = min(events, key=lambda event: (event["day"], event["hour"]))
    days = sorted({event["day"] for event in events})
    d.says(f"I meet {who['name']} on {', '.join(days)}. What is the title of the first of these meetings?")
    d.do("list_events", day=days[0])
    d.answer = first["title"]


def cancel_and_tell(d: Draft) -> None:
    who, day, title = d.person(), d.day(), d.word()
    event = d.event(day, d.rng.choice(HOURS), title, who)
    d.says(f"Cancel the meeting called {title} on {day}, and mail its guest: cancelled.")
    d.do("list_events", day=day)
    d.do("cancel_event", id=event["id"])
    d.looks_up(who)
    d.sends(who, "cancelled")


def move_and_tell(d: Draft) -> None:
    who, day, title = d.person(), d.day(), d.word()
    event = d.event(day, d.rng.choice(HOURS), title, who)
    other = d.day(day)
    for hour in HOURS[: d.rng.randint(1, 3)]:
        d.event(other, hour, d.rng.choice(TITLES), d.bystander)
    hour = d.free_hour(other)
    d.says(
        f"Move the meeting called {title} from {day} to the first free hour of {other} (hours begin at 8), and mail "
        "its guest the new hour."
    )
    d.do("list_events", day=day)
    d.do("list_events", day=other)
    d.do("move_event", id=event["id"], day=other, hour=hour)
    d.looks_up(who)
    d.sends(who, hour)


def birthday(d: Draft) -> None:
    who = d.person()
    d.says(f"Put the birthday of {who['name']} into the calendar, at 8, with the title birthday and them as the guest.")
    d.looks_up(who)
    d.do("add_event", day=who["birthday"], hour=8, title="birthday", guest=who["name"])


def who_comes(d: Draft) -> None:
    who, day, title = d.person(), d.day(), d.word()
    d.event(day, d.rng.choice(HOURS), title, who)
    d.says(f"What is the phone number of the guest of the meeting called {title} on {day}?")
    d.do("list_events", day=day)
    d.looks_up(who)
    d.answer = who["phone"]


def swap(d: Draft) -> None:
    first, second, title, other = *d.people(2), d.word(), d.word()
    days = [d.day()]
    days.append(d.day(days[0]))
    events = [d.event(days[i], d.rng.choice(HOURS), (title, other)[i], (first, second)[i]) for i in range(2)]
    d.says(f"Let the meeting called {title} on {days[0]} and the one called {other} on {days[1]} change places.")
    d.do("list_events", day=days[0])
    d.do("list_events", day=days[1])
    for event, place in zip(events, reversed(events), strict=True):
        d.do("move_event", id=event["id"], day=place["day"], hour=place["hour"])
