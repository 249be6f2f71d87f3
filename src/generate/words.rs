//! The shop's vocabulary: categories, niches within them, brands, colours, and the phrases that descriptions are made of.

/// A department of the shop.
pub(super) struct Category {
    pub(super) name: &'static str,
    pub(super) brands: [&'static str; 4],
    /// Words before the noun of a title.
    pub(super) styles: [&'static str; 6],
    pub(super) niches: [Niche; 4],
    /// Whether titles end with a colour.
    pub(super) coloured: bool,
}

/// A group of like items; tastes are formed around niches.
pub(super) struct Niche {
    pub(super) name: &'static str,
    pub(super) nouns: [&'static str; 3],
    /// Typical price in US cents.
    pub(super) price: i64,
}

const fn niche(name: &'static str, nouns: [&'static str; 3], price: i64) -> Niche {
    Niche { name, nouns, price }
}

pub(super) const COLOURS: [&str; 16] = [
    "Navy", "Black", "Ivory", "Charcoal", "Olive", "Rust", "Sage", "Burgundy", "Sand", "Slate",
    "Cobalt", "Blush", "Ochre", "Forest", "White", "Teal",
];

pub(super) const PRAISE: [&str; 8] = [
    "Made to be used every day and to last for years",
    "A favourite of our customers since its first season",
    "Tested by our own team before it reached the shelf",
    "Thoughtfully designed, with nothing you do not need",
    "Produced in small batches by a family-run workshop",
    "Light enough to take along, sturdy enough to keep",
    "An easy gift, and easier to keep for yourself",
    "Simple lines that go with what you already own",
];

pub(super) const SERVICE: [&str; 5] = [
    "Free returns within 30 days.",
    "Ships in recycled packaging.",
    "Two-year guarantee.",
    "Spare parts available.",
    "Usually leaves our warehouse the same day.",
];

pub(super) const COUNTRIES: [&str; 10] =
    ["US", "GB", "DE", "FR", "CA", "NL", "ES", "AU", "IT", "SE"];
pub(super) const AGE_BANDS: [&str; 6] = ["18-24", "25-34", "35-44", "45-54", "55-64", "65+"];
pub(super) const GENDERS: [&str; 3] = ["female", "male", "other"];
pub(super) const USER_TAGS: [&str; 8] = [
    "newsletter",
    "loyalty",
    "app",
    "gift-buyer",
    "early-adopter",
    "bargain-hunter",
    "business",
    "student",
];

pub(super) const CATEGORIES: [Category; 12] = [
    Category {
        name: "Clothing",
        brands: ["Harrow & Finch", "Northway", "Oda", "Lindqvist"],
        styles: [
            "Relaxed", "Classic", "Slim", "Organic", "Weekend", "Heritage",
        ],
        niches: [
            niche("Knitwear", ["Crew Sweater", "Cardigan", "Roll-Neck"], 7_900),
            niche(
                "Denim",
                ["Straight Jeans", "Denim Jacket", "Tapered Jeans"],
                8_900,
            ),
            niche(
                "Outerwear",
                ["Rain Parka", "Wool Coat", "Quilted Vest"],
                15_900,
            ),
            niche(
                "Shirts",
                ["Oxford Shirt", "Linen Shirt", "Pocket Tee"],
                4_900,
            ),
        ],
        coloured: true,
    },
    Category {
        name: "Shoes",
        brands: ["Calder", "Strand Supply", "Tessera", "Moorland"],
        styles: [
            "Everyday",
            "Suede",
            "Waterproof",
            "Featherlight",
            "Heritage",
            "Cushioned",
        ],
        niches: [
            niche("Sneakers", ["Court Sneaker", "Runner", "High-Top"], 9_500),
            niche(
                "Boots",
                ["Chelsea Boot", "Hiking Boot", "Lace-Up Boot"],
                15_500,
            ),
            niche("Sandals", ["Cork Sandal", "Slide", "Strap Sandal"], 5_500),
            niche(
                "Loafers",
                ["Penny Loafer", "Driving Shoe", "Slip-On"],
                11_500,
            ),
        ],
        coloured: true,
    },
    Category {
        name: "Bags & Accessories",
        brands: ["Fathom", "Bellweather", "Oda", "Pike Street"],
        styles: ["Compact", "Heritage", "City", "Woven", "Travel", "Slim"],
        niches: [
            niche(
                "Backpacks",
                ["Daypack", "Laptop Backpack", "Rucksack"],
                9_900,
            ),
            niche(
                "Wallets",
                ["Card Holder", "Bifold Wallet", "Zip Wallet"],
                4_500,
            ),
            niche(
                "Hats & Scarves",
                ["Beanie", "Lambswool Scarf", "Bucket Hat"],
                3_500,
            ),
            niche(
                "Watches",
                ["Field Watch", "Dive Watch", "Chronograph"],
                18_900,
            ),
        ],
        coloured: true,
    },
    Category {
        name: "Kitchen",
        brands: ["Hearth & Rye", "Copperleaf", "Stellan", "Maison Varel"],
        styles: [
            "Artisan",
            "Bistro",
            "Everyday",
            "Heritage",
            "Signature",
            "Professional",
        ],
        niches: [
            niche("Cookware", ["Dutch Oven", "Skillet", "Saucepan"], 8_900),
            niche(
                "Knives",
                ["Chef's Knife", "Paring Knife", "Bread Knife"],
                7_500,
            ),
            niche(
                "Coffee",
                ["Pour-Over Set", "Burr Grinder", "French Press"],
                6_500,
            ),
            niche(
                "Tableware",
                ["Dinner Plate Set", "Serving Bowl", "Tumbler Set"],
                4_500,
            ),
        ],
        coloured: true,
    },
    Category {
        name: "Home & Living",
        brands: ["Stillwater", "Lindqvist", "Arden House", "Loom & Co"],
        styles: [
            "Coastal", "Handmade", "Modern", "Nordic", "Serene", "Minimal",
        ],
        niches: [
            niche(
                "Bedding",
                ["Duvet Cover", "Sheet Set", "Wool Blanket"],
                11_900,
            ),
            niche(
                "Lighting",
                ["Table Lamp", "Pendant Light", "Floor Lamp"],
                12_900,
            ),
            niche("Rugs & Throws", ["Area Rug", "Throw", "Runner Rug"], 14_900),
            niche(
                "Candles & Scents",
                ["Candle", "Reed Diffuser", "Incense Set"],
                2_900,
            ),
        ],
        coloured: true,
    },
    Category {
        name: "Electronics",
        brands: ["Nordlys", "Aperture One", "Quillon", "Voltaire"],
        styles: ["Wireless", "Compact", "Pro", "Mini", "Portable", "Studio"],
        niches: [
            niche(
                "Headphones",
                ["Over-Ear Headphones", "Earbuds", "Open-Back Headphones"],
                14_900,
            ),
            niche(
                "Speakers",
                ["Bookshelf Speaker", "Party Speaker", "Soundbar"],
                17_900,
            ),
            niche(
                "Charging",
                ["Charging Stand", "Power Bank", "USB-C Charger"],
                3_900,
            ),
            niche(
                "Smart Home",
                ["Smart Plug", "Thermostat", "Door Sensor"],
                5_900,
            ),
        ],
        coloured: false,
    },
    Category {
        name: "Beauty",
        brands: ["Solene", "Verbena Lab", "Kind Botanics", "Maren"],
        styles: [
            "Nourishing",
            "Gentle",
            "Daily",
            "Calming",
            "Fresh",
            "Botanical",
        ],
        niches: [
            niche(
                "Skin Care",
                ["Face Serum", "Moisturiser", "Cleansing Balm"],
                3_800,
            ),
            niche(
                "Hair Care",
                ["Shampoo", "Hair Mask", "Styling Cream"],
                2_400,
            ),
            niche(
                "Fragrance",
                ["Eau de Parfum", "Body Mist", "Solid Perfume"],
                8_500,
            ),
            niche("Bath", ["Bath Salts", "Hand Soap", "Body Scrub"], 1_800),
        ],
        coloured: false,
    },
    Category {
        name: "Sports",
        brands: ["Ridgeline", "Velo Nord", "Tempo", "Kestrel"],
        styles: [
            "Lightweight",
            "Training",
            "Pro",
            "All-Weather",
            "Studio",
            "Everyday",
        ],
        niches: [
            niche(
                "Running",
                ["Running Shorts", "Running Vest", "Running Cap"],
                6_900,
            ),
            niche("Yoga", ["Yoga Mat", "Cork Block", "Leggings"], 4_900),
            niche(
                "Cycling",
                ["Bib Shorts", "Bike Light", "Cycling Jersey"],
                8_900,
            ),
            niche(
                "Strength",
                ["Kettlebell", "Resistance Bands", "Adjustable Dumbbell"],
                5_900,
            ),
        ],
        coloured: true,
    },
    Category {
        name: "Outdoor",
        brands: ["Ridgeline", "Fell & Tarn", "Basecamp Supply", "Moorland"],
        styles: [
            "Ultralight",
            "Trail",
            "Alpine",
            "Packable",
            "Rugged",
            "Expedition",
        ],
        niches: [
            niche("Tents", ["Two-Person Tent", "Tarp", "Bivy"], 24_900),
            niche(
                "Sleep",
                ["Sleeping Bag", "Sleeping Pad", "Camp Pillow"],
                12_900,
            ),
            niche(
                "Camp Kitchen",
                ["Camp Stove", "Cook Set", "Water Bottle"],
                4_900,
            ),
            niche(
                "Navigation",
                ["Headlamp", "Trekking Poles", "Compass"],
                5_900,
            ),
        ],
        coloured: true,
    },
    Category {
        name: "Toys & Games",
        brands: ["Little Orchard", "Pinwheel", "Meeple Works", "Tumble"],
        styles: ["Classic", "Big", "Woodland", "Little", "Family", "Deluxe"],
        niches: [
            niche(
                "Board Games",
                ["Strategy Game", "Card Game", "Puzzle Game"],
                3_900,
            ),
            niche(
                "Building",
                ["Building Blocks", "Marble Run", "Train Set"],
                4_900,
            ),
            niche(
                "Soft Toys",
                ["Plush Bear", "Plush Rabbit", "Hand Puppet"],
                2_500,
            ),
            niche(
                "Puzzles",
                ["1000-Piece Puzzle", "Floor Puzzle", "Brain Teaser"],
                2_200,
            ),
        ],
        coloured: false,
    },
    Category {
        name: "Books & Stationery",
        brands: ["Folio House", "Quire", "Inkwell Press", "Paper Row"],
        styles: [
            "Everyday",
            "Signature",
            "Pocket",
            "Collector's",
            "Studio",
            "Classic",
        ],
        niches: [
            niche(
                "Cookbooks",
                ["Vegetable Cookbook", "Bread Book", "Weeknight Cookbook"],
                3_200,
            ),
            niche("Notebooks", ["Notebook", "Planner", "Sketchbook"], 1_900),
            niche(
                "Pens",
                ["Fountain Pen", "Rollerball", "Brush Pen Set"],
                3_900,
            ),
            niche(
                "Travel Writing",
                ["City Guide", "Hiking Guide", "Travel Memoir"],
                2_400,
            ),
        ],
        coloured: false,
    },
    Category {
        name: "Garden",
        brands: ["Fernhill", "Copperleaf", "Spade & Seed", "Arden House"],
        styles: [
            "Cottage",
            "Classic",
            "Weatherproof",
            "Heritage",
            "Compact",
            "Orchard",
        ],
        niches: [
            niche(
                "Tools",
                ["Hand Trowel", "Pruning Shears", "Garden Fork"],
                3_400,
            ),
            niche("Pots", ["Planter", "Window Box", "Hanging Pot"], 3_900),
            niche(
                "Seeds",
                ["Tomato Seeds", "Wildflower Mix", "Herb Seed Set"],
                900,
            ),
            niche(
                "Outdoor Living",
                ["Fire Bowl", "Garden Bench", "String Lights"],
                12_900,
            ),
        ],
        coloured: false,
    },
];

/// Niches of the whole shop.
pub(super) const NICHES: usize = CATEGORIES.len() * 4;

/// Category and niche with this number.
pub(super) fn niche_words(number: usize) -> (&'static Category, &'static Niche) {
    let category = &CATEGORIES[number / 4 % CATEGORIES.len()];
    (category, &category.niches[number % 4])
}
