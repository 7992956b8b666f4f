"""Ready label specs: each line is one class and the raw mask values that mean it. Change a line to regroup.

    c.data.classes, c.data.ignored = labels.BCSS

Colours are Okabe and Ito's (2008): they stay apart under the common colour-vision deficiencies, and these
stand out from the pinks and purples of H&E.
"""

#: Raw BCSS masks as downloaded, 22 codes (the data set's gtruth_codes.tsv). 0 is outside the region of
#: interest: no label, not "other".
BCSS = (
    (
        {"name": "tumor", "values": (1, 19, 20), "color": "#d55e00"},  # tumor, angioinvasion, DCIS
        {"name": "stroma", "values": (2,), "color": "#56b4e9"},
        {"name": "inflammatory", "values": (3, 10, 11), "color": "#0072b2"},  # + plasma, other
        {"name": "necrosis", "values": (4,), "color": "#f0e442"},  # necrosis or debris
        # glandular secretions, blood, metaplasia, fat, mucoid material, normal acinus or duct, lymphatics,
        # undetermined, nerve, skin adnexa, blood vessel, other
        {"name": "other", "values": (5, 6, 8, 9, 12, 13, 14, 15, 16, 17, 18, 21), "color": "#009e73"},
    ),
    (0, 7),  # outside the region of interest, excluded by the annotators
)

#: BCSS as SAM-Path publishes it: grouped into five values already.
BCSS_PUBLISHED = (
    (
        {"name": "tumor", "values": (1,), "color": "#d55e00"},
        {"name": "stroma", "values": (2,), "color": "#56b4e9"},
        {"name": "inflammatory", "values": (3,), "color": "#0072b2"},
        {"name": "necrosis", "values": (4,), "color": "#f0e442"},
        {"name": "other", "values": (5,), "color": "#009e73"},
    ),
    (0,),
)

#: CRAG with its gland instances merged (`python -m sampath_jax.prepare crag` merges them).
CRAG = (
    (
        {"name": "background", "values": (0,), "color": "#999999"},
        {"name": "gland", "values": (1,), "color": "#009e73"},
    ),
    (255,),
)
