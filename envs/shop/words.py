"""What the store sells: groups of product kinds, what may be said of them, and how buyers ask for them.

No two attributes of a group, and no two values of its options, are so alike that WebShop's fuzzy match takes one for
the other (as it does "pack of 4" and "pack of 6").
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goods:
    """A group of kinds: where they stand, what they are like, what a buyer chooses, what they cost (dollars)."""

    department: str
    group: str
    kinds: tuple[str, ...]
    attributes: tuple[str, ...]
    options: dict[str, tuple[str, ...]]
    prices: tuple[int, int]


CLOTHING, BEAUTY, GROCERY = "Clothing & Shoes", "Beauty", "Grocery"
HOME, ELECTRONICS, SPORTS = "Home & Kitchen", "Electronics", "Sports & Pets"
_COLORS = ("black", "white", "navy", "grey", "red", "olive", "pink", "beige", "teal", "purple")
_FINISHES = ("black", "white", "walnut", "oak", "grey", "espresso", "natural")
_SIZES = ("small", "medium", "large", "xl", "2xl")

GOODS = (
    Goods(CLOTHING, "Tops", ("t-shirt", "hoodie", "blouse", "sweater", "polo shirt"),
          ("machine washable", "long sleeve", "slim fit", "quick drying", "moisture wicking", "crew neck",
           "uv protection", "organic cotton", "zip pocket", "wrinkle free", "contrast stitching", "plus size cut"),
          {"color": _COLORS, "size": _SIZES}, (9, 58)),
    Goods(CLOTHING, "Bottoms", ("jeans", "leggings", "cargo pants", "chino shorts", "sweatpants"),
          ("high waist", "tummy control", "straight leg", "relaxed fit", "drawstring closure", "side pockets",
           "stretch denim", "fleece lined", "water resistant", "easy care", "tapered ankle", "button fly"),
          {"color": _COLORS, "size": ("28", "30", "32", "34", "36", "38")}, (14, 72)),
    Goods(CLOTHING, "Shoes", ("running shoes", "sandals", "ankle boots", "slippers", "loafers"),
          ("memory foam", "non slip", "arch support", "wide toe box", "faux leather", "rubber sole", "lace up",
           "breathable mesh", "shock absorbing", "waterproof lining", "open back", "reinforced heel"),
          {"color": _COLORS, "size": ("6", "7", "8", "9", "10", "11")}, (18, 110)),
    Goods(BEAUTY, "Skin Care", ("face cream", "body lotion", "lip balm", "sunscreen", "face serum"),
          ("cruelty free", "paraben free", "anti aging", "hyaluronic acid", "dry skin", "sensitive skin",
           "fast absorbing", "vitamin c", "shea butter", "alcohol free", "dermatologist tested", "reef safe"),
          {"scent": ("unscented", "lavender", "citrus", "rose", "vanilla", "coconut", "cucumber"),
           "size": ("1 oz", "2 oz", "4 oz", "8 oz")}, (5, 48)),
    Goods(BEAUTY, "Hair Care", ("shampoo", "conditioner", "hair mask", "styling gel", "hair oil"),
          ("sulfate free", "color safe", "argan oil", "damaged hair", "curly hair", "anti dandruff",
           "keratin treatment", "heat protection", "plant based", "long lasting", "tea tree", "salon quality"),
          {"scent": ("mint", "coconut", "citrus", "vanilla", "apple", "unscented"),
           "size": ("8 oz", "12 oz", "16 oz", "33 oz")}, (6, 44)),
    Goods(GROCERY, "Snacks", ("protein bars", "trail mix", "potato chips", "oat cookies", "popcorn"),
          ("gluten free", "low sugar", "non gmo", "high protein", "nut free", "kettle cooked", "certified kosher",
           "dairy free", "low sodium", "whole grain", "individually wrapped", "no artificial colors"),
          {"flavor": ("chocolate", "peanut butter", "sea salt", "honey", "barbecue", "caramel", "cinnamon"),
           "pack": ("single", "4 pack", "6 pack", "12 pack")}, (4, 52)),
    Goods(GROCERY, "Drinks", ("green tea", "ground coffee", "hot chocolate", "sparkling water", "coconut water"),
          ("caffeine free", "fair trade", "usda organic", "sugar free", "cold pressed", "zero calories",
           "single origin", "resealable bag", "keto friendly", "natural ingredients", "small batch",
           "rich in antioxidants"),
          {"flavor": ("original", "lemon", "ginger", "hazelnut", "peach", "mango", "vanilla"),
           "pack": ("single", "3 pack", "8 pack", "24 pack")}, (5, 60)),
    Goods(HOME, "Bedding", ("bed sheets", "duvet cover", "pillow", "throw blanket", "mattress topper"),
          ("super soft", "hypoallergenic fill", "cooling gel", "deep pockets", "bamboo viscose", "fade resistant",
           "brushed microfiber", "machine wash", "oeko tex certified", "quilted pattern", "hotel quality",
           "reversible design"),
          {"color": _COLORS, "size": ("twin", "full", "queen", "king")}, (15, 120)),
    Goods(HOME, "Furniture", ("coffee table", "bookshelf", "office chair", "nightstand", "storage bench"),
          ("solid wood", "easy assembly", "metal legs", "adjustable height", "space saving", "faux marble",
           "hidden drawer", "lumbar support", "scratch resistant", "anti tip kit", "rolling casters", "tempered glass"),
          {"finish": _FINISHES, "width": ("18 in", "24 in", "30 in", "36 in", "48 in")}, (39, 340)),
    Goods(HOME, "Lighting", ("table lamp", "floor lamp", "ceiling light", "night light", "desk lamp"),
          ("dimmable brightness", "energy efficient", "touch control", "brushed nickel", "linen shade", "usb port",
           "remote control", "frosted glass", "motion sensor", "bulb included", "flicker free", "adjustable arm"),
          {"finish": ("black", "white", "brass", "bronze", "chrome", "copper"),
           "light": ("warm", "neutral", "daylight")}, (12, 130)),
    Goods(HOME, "Rugs & Curtains", ("area rug", "blackout curtains", "bath mat", "shower curtain", "table runner"),
          ("stain resistant", "non skid backing", "noise reducing", "hand woven", "thermal insulated", "low pile",
           "mildew resistant", "grommet top", "geometric print", "pet friendly", "fringe edges", "easy to clean"),
          {"color": _COLORS, "size": ("2x3 ft", "3x5 ft", "4x6 ft", "5x8 ft")}, (11, 145)),
    Goods(ELECTRONICS, "Audio", ("headphones", "bluetooth speaker", "earbuds", "sound bar", "turntable"),
          ("noise cancelling", "deep bass", "water proof", "fast charging", "foldable frame", "built in microphone",
           "low latency", "stereo sound", "volume limit", "plug and play", "carrying case", "multipoint pairing"),
          {"color": ("black", "white", "silver", "blue", "rose gold"), "edition": ("wired", "wireless", "hybrid")},
          (15, 240)),
    Goods(ELECTRONICS, "Phone Accessories", ("phone case", "charging cable", "power bank", "car mount", "wall charger"),
          ("shock proof", "magnetic hold", "braided nylon", "slim profile", "overheat protection", "raised edges",
           "one handed use", "led indicator", "high speed", "anti yellowing", "two year warranty", "travel size"),
          {"color": ("black", "clear", "blue", "green", "red", "lilac"),
           "fits": ("galaxy", "pixel", "nova", "iris", "edge")}, (6, 65)),
    Goods(ELECTRONICS, "Cameras", ("security camera", "webcam", "tripod", "action camera", "camera backpack"),
          ("night vision", "ultra hd", "weather sealed", "quick release", "carbon fiber", "privacy shutter",
           "wide angle", "image stabilization", "two way audio", "rain cover", "cloud storage", "auto focus"),
          {"color": ("black", "white", "grey", "orange"), "set": ("single", "pair", "bundle")},
          (22, 310)),
    Goods(SPORTS, "Fitness", ("yoga mat", "dumbbell set", "resistance bands", "water bottle", "jump rope"),
          ("bpa free", "extra thick", "anti slip grip", "leak proof", "natural rubber", "vacuum insulated",
           "carry strap", "adjustable length", "odor resistant", "tangle free", "eco friendly", "wide mouth"),
          {"color": _COLORS, "level": ("light", "standard", "heavy", "pro")}, (8, 95)),
    Goods(SPORTS, "Pet Supplies", ("dog bed", "cat tree", "dog leash", "cat scratcher", "pet carrier"),
          ("removable cover", "chew resistant", "orthopedic foam", "reflective stitching", "washable cushion",
           "sisal rope", "padded handle", "airline approved", "sturdy base", "hanging toys", "ventilated sides",
           "double clip"),
          {"color": ("brown", "grey", "blue", "pink", "beige", "black"), "size": _SIZES[:4]}, (9, 130)),
)  # fmt: skip

BRAND_HEADS = ("Vel", "Nor", "Ama", "Tri", "Lum", "Kes", "Ori", "Bel", "Fen", "Sol", "Dar", "Mi", "Ru", "Cal", "Zen")
BRAND_TAILS = ("mora", "vik", "lia", "dane", "nova", "tana", "rell", "wick")

BULLETS = (
    "Known for: {}",
    "Buyers praise: {}",
    "What sets it apart: {}",
    "New this year: {}",
    "Quality you can see: {}",
)
DESCRIPTIONS = (
    "This {kind} by {brand} goes well with every day. {said}",
    "{brand} has made {kind} since {year}. {said}",
    "A gift that is used: our {kind} comes in a plain box. {said}",
)
SAID = ("It also offers: {}.", "Worth knowing: {}.", "One more thing: {}.")
REVIEWS = ("Arrived on time.", "As pictured.", "Good value for the money.", "My second one.", "The box was dented.",
           "Would buy again.", "It does what it says.")  # fmt: skip

REQUESTS = (
    "i am looking for {kind} with {attributes}{options}",
    "i need {attributes} {kind}{options}",
    "find me {kind}, {attributes}{options}",
    "i want to buy {kind}. it should be {attributes}{options}",
    "show me {attributes} {kind} for a friend{options}",
    "get me {kind} that comes with {attributes}{options}",
)
