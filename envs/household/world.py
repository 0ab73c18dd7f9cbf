"""The vocabulary of the household: receptacles, objects, what goes where, and which pairs training never shows.

Types and relations are ALFRED's (``canContain``, ``openable``, ``cleanable``, ...), written down as small tables.
"""

from __future__ import annotations

LOOK, TWO = "look_at_obj_in_light", "pick_two_obj_and_place"
KINDS = (
    "pick_and_place_simple",
    LOOK,
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    TWO,
)

# What an object can be (as marks of its state) and what can be done with it (as affordances): one bit each.
# isClean/cleanable, isHot/heatable, isCool/coolable, isToggled/toggleable share a bit.
CLEAN, HOT, COOL, ON, PICKUPABLE, VESSEL = 1, 2, 4, 8, 16, 32

TREATMENTS = {"clean": CLEAN, "heat": HOT, "cool": COOL}
STATIONS = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}
TREATMENT_OF = {f"pick_{verb}_then_place_in_recep": verb for verb in TREATMENTS}

OPENABLE = frozenset({"cabinet", "drawer", "fridge", "microwave", "safe"})
LAMPS = ("desklamp", "floorlamp")

# How many of each receptacle a complete room has.
ROOMS: dict[str, dict[str, int]] = {
    "kitchen": {
        "cabinet": 6, "coffeemachine": 1, "countertop": 3, "diningtable": 1, "drawer": 5, "fridge": 1, "garbagecan": 1,
        "microwave": 1, "shelf": 3, "sidetable": 1, "sinkbasin": 1, "stoveburner": 4, "toaster": 1,
    },
    "bathroom": {
        "bathtubbasin": 1, "cabinet": 4, "cart": 1, "countertop": 2, "drawer": 4, "garbagecan": 1, "handtowelholder": 2,
        "shelf": 3, "sinkbasin": 2, "toilet": 1, "toiletpaperhanger": 1, "towelholder": 1,
    },
    "bedroom": {
        "armchair": 1, "bed": 1, "cabinet": 2, "desk": 2, "drawer": 6, "dresser": 1, "garbagecan": 1,
        "laundryhamper": 1, "safe": 1, "shelf": 4, "sidetable": 2,
    },
    "livingroom": {
        "armchair": 2, "cabinet": 3, "coffeetable": 1, "diningtable": 1, "drawer": 4, "dresser": 1, "garbagecan": 1,
        "ottoman": 1, "safe": 1, "shelf": 4, "sidetable": 2, "sofa": 1, "tvstand": 1,
    },
}  # fmt: skip

# object | rooms (k b h l = kitchen, bedroom, bathroom, livingroom) | receptacles that can contain it
_OBJECTS = """
alarmclock      | b  | desk dresser drawer shelf sidetable
apple           | k  | countertop diningtable fridge garbagecan microwave sidetable sinkbasin
baseballbat     | b  | bed desk dresser sidetable armchair
basketball      | bl | armchair bed desk dresser ottoman sofa sidetable
book            | bl | armchair bed cabinet coffeetable desk diningtable drawer dresser shelf sidetable sofa
bowl            | kl | cabinet coffeetable countertop diningtable dresser fridge microwave shelf sidetable sinkbasin
box             | l  | armchair cabinet coffeetable diningtable dresser ottoman shelf sofa tvstand
bread           | k  | countertop diningtable fridge garbagecan microwave sidetable toaster
butterknife     | k  | countertop diningtable drawer sidetable sinkbasin
candle          | hl | cabinet cart coffeetable countertop drawer dresser shelf sidetable toilet
cd              | b  | cabinet desk drawer dresser garbagecan safe shelf sidetable
cellphone       | bl | armchair bed coffeetable desk diningtable drawer dresser safe sidetable sofa
cloth           | bh | bathtubbasin bed cabinet cart countertop desk drawer dresser laundryhamper sinkbasin
creditcard      | bl | armchair coffeetable desk diningtable drawer dresser ottoman shelf sidetable sofa
cup             | k  | cabinet coffeemachine countertop diningtable fridge microwave shelf sidetable sinkbasin
desklamp        | bl | coffeetable desk dresser shelf sidetable
dishsponge      | kh | bathtubbasin cabinet cart countertop diningtable drawer sinkbasin toilet
egg             | k  | countertop diningtable fridge garbagecan microwave sinkbasin
floorlamp       | bl | armchair dresser sidetable sofa tvstand
fork            | k  | countertop diningtable drawer sidetable sinkbasin
glassbottle     | k  | cabinet countertop diningtable fridge garbagecan shelf sinkbasin
handtowel       | h  | cabinet cart countertop handtowelholder sinkbasin toilet
kettle          | k  | cabinet countertop diningtable shelf sinkbasin stoveburner
keychain        | bl | armchair coffeetable desk diningtable drawer dresser ottoman safe shelf sidetable sofa
knife           | k  | countertop diningtable drawer sidetable sinkbasin
ladle           | k  | cabinet countertop diningtable drawer sinkbasin
laptop          | bl | armchair bed coffeetable desk diningtable dresser ottoman sofa
lettuce         | k  | countertop diningtable fridge garbagecan sidetable sinkbasin
mug             | kb | cabinet coffeemachine countertop desk diningtable fridge microwave shelf sidetable sinkbasin
newspaper       | l  | armchair cabinet coffeetable diningtable drawer dresser garbagecan ottoman shelf sidetable sofa
pan             | k  | cabinet countertop diningtable fridge sinkbasin stoveburner
pen             | bl | coffeetable desk diningtable drawer dresser garbagecan shelf sidetable
pencil          | bl | coffeetable desk diningtable drawer dresser garbagecan shelf sidetable
peppershaker    | k  | cabinet countertop diningtable drawer shelf sidetable
pillow          | bl | armchair bed ottoman sofa laundryhamper
plate           | k  | cabinet countertop diningtable fridge microwave shelf sidetable sinkbasin
plunger         | h  | cabinet cart toilet bathtubbasin countertop
pot             | k  | cabinet countertop diningtable fridge shelf sinkbasin stoveburner
potato          | k  | countertop diningtable fridge garbagecan microwave sidetable sinkbasin
remotecontrol   | l  | armchair coffeetable diningtable drawer dresser ottoman shelf sidetable sofa tvstand
saltshaker      | k  | cabinet countertop diningtable drawer shelf sidetable
soapbar         | h  | bathtubbasin cabinet cart countertop drawer garbagecan shelf sinkbasin toilet
soapbottle      | kh | cabinet cart countertop drawer garbagecan shelf sinkbasin toilet
spatula         | k  | countertop diningtable drawer sidetable sinkbasin
spoon           | k  | countertop diningtable drawer sidetable sinkbasin
spraybottle     | h  | cabinet cart countertop drawer garbagecan shelf toilet
statue          | l  | coffeetable diningtable dresser shelf sidetable tvstand
tennisracket    | b  | bed desk dresser drawer armchair
tissuebox       | hl | cabinet cart coffeetable countertop dresser shelf sidetable toilet
toiletpaper     | h  | cabinet cart countertop drawer garbagecan shelf toilet toiletpaperhanger
tomato          | k  | countertop diningtable fridge garbagecan microwave sidetable sinkbasin
towel           | h  | bathtubbasin cabinet cart countertop toilet towelholder
vase            | kl | cabinet coffeetable countertop diningtable dresser shelf sidetable tvstand
watch           | bl | coffeetable desk diningtable drawer dresser safe shelf sidetable tvstand
wateringcan     | l  | coffeetable diningtable dresser shelf sidetable
winebottle      | k  | cabinet countertop diningtable fridge garbagecan shelf
"""

_ROWS = [[cell.split() for cell in row.split("|")] for row in _OBJECTS.strip().splitlines()]
_ROOM_OF = {"k": "kitchen", "b": "bedroom", "h": "bathroom", "l": "livingroom"}

# object type -> the receptacle types that can contain it
CONTAINERS: dict[str, tuple[str, ...]] = {name: tuple(sorted(into)) for [name], _, into in _ROWS}
OBJECTS_IN: dict[str, tuple[str, ...]] = {
    room: tuple(name for [name], [rooms], _ in _ROWS if letter in rooms) for letter, room in _ROOM_OF.items()
}
CAN_CONTAIN = frozenset((receptacle, name) for name, into in CONTAINERS.items() for receptacle in into)

_AFFORDANCES = {
    CLEAN: "apple bowl butterknife cloth cup dishsponge egg fork kettle knife ladle lettuce mug pan plate pot potato "
    "soapbar spatula spoon tomato",
    HOT: "apple bread cup egg mug plate potato tomato",
    COOL: "apple bowl bread cup egg lettuce mug pan plate pot potato tomato winebottle",
    ON: " ".join(LAMPS),
    PICKUPABLE: " ".join(name for name in CONTAINERS if name not in LAMPS),
}
AFFORDS: dict[str, int] = {
    name: sum(bit for bit, names in _AFFORDANCES.items() if name in names.split()) for name in CONTAINERS
}

# Every fifth receptacle of each object's list, from a start that moves with the object: about a fifth of all
# (object, receptacle) pairs, spread evenly, so that every object and every receptacle keeps pairs to learn from.
HELD_OUT = frozenset(
    (name, receptacle)
    for i, (name, into) in enumerate(sorted(CONTAINERS.items()))
    for j, receptacle in enumerate(into)
    if (i + j) % 5 == 0
)
