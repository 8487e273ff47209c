"""Codes of countries, continents and subdivisions that geo rules may name.

ISO 3166-1 alpha-2, and XK (user-assigned, in wide use for Kosovo). Subdivisions (ISO 3166-2) are known one by one for
the countries whose clients gtm's own database tells apart; for others any code of the right form is taken.
"""

from __future__ import annotations

import re

from gtm.config.nearby import did_you_mean
from gtm.config.scalars import Unfit, shown

_COUNTRIES = """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
    CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO
    FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE
    JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO
    MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW
    PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM
    TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW
"""
COUNTRIES = frozenset(_COUNTRIES.split())

CONTINENTS = {
    "AF": "Africa",
    "AN": "Antarctica",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "OC": "Oceania",
    "SA": "South America",
}

# Codes people write for the one that ISO has.
_MEANT = {"UK": "GB", "EL": "GR", "EN": "GB", "KO": "KR", "FX": "FR", "TP": "TL", "USA": "US"}

# IN holds the codes before and after the changes of 2023 (CG, OD, TS, UK for CT, OR, TG, UT).
_SUBDIVISIONS = {
    "AU": "ACT NSW NT QLD SA TAS VIC WA",
    "BR": "AC AL AM AP BA CE DF ES GO MA MG MS MT PA PB PE PI PR RJ RN RO RR RS SC SE SP TO",
    "CA": "AB BC MB NB NL NS NT NU ON PE QC SK YT",
    "CN": "AH BJ CQ FJ GD GS GX GZ HA HB HE HI HK HL HN JL JS JX LN MO NM NX QH SC SD SH SN SX TJ TW XJ XZ YN ZJ",
    "IN": "AN AP AR AS BR CG CH CT DD DH DL DN GA GJ HP HR JH JK KA KL LA LD MH ML MN MP MZ NL OD OR PB PY RJ SK TG TN "
    "TR TS UK UP UT WB",
    "RU": "AD AL ALT AMU ARK AST BA BEL BRY BU CE CHE CHU CU DA IN IRK IVA KAM KB KC KDA KEM KGD KGN KHA KHM KIR KK KL "
    "KLU KO KOS KR KRS KYA LEN LIP MAG ME MO MOS MOW MUR NEN NGR NIZ NVS OMS ORE ORL PER PNZ PRI PSK ROS RYA SA SAK "
    "SAM SAR SE SMO SPE STA SVE TA TAM TOM TUL TVE TY TYU UD ULY VGG VLA VLG VOR YAN YAR YEV ZAB",
    "US": "AK AL AR AS AZ CA CO CT DC DE FL GA GU HI IA ID IL IN KS KY LA MA MD ME MI MN MO MP MS MT NC ND NE NH NJ NM "
    "NV NY OH OK OR PA PR RI SC SD TN TX UM UT VA VI VT WA WI WV WY",
}
SUBDIVISIONS = {country: frozenset(codes.split()) for country, codes in _SUBDIVISIONS.items()}

_SUBDIVISION = re.compile(r"([A-Z]{2})-([A-Z0-9]{1,3})")


def country(text: str) -> str:
    """The country code that `text` is. Raises Unfit, with the code that was probably meant."""
    if text in COUNTRIES:
        return text
    upper = text.upper()
    meant = _MEANT.get(upper, upper if upper in COUNTRIES else None)
    hint = f"; did you mean {meant}?" if meant else ""
    raise Unfit(f"{shown(text)} is not a country{hint}", "an ISO 3166-1 alpha-2 code such as US")


def continent(text: str) -> str:
    """The continent code that `text` is. Raises Unfit."""
    if text in CONTINENTS:
        return text
    hint = f"; did you mean {text.upper()}?" if text.upper() in CONTINENTS else ""
    allowed = ", ".join(f"{code} ({name})" for code, name in CONTINENTS.items())
    raise Unfit(f"{shown(text)} is not a continent{hint}", allowed)


def subdivision(text: str) -> str:
    """The subdivision code that `text` is. Raises Unfit."""
    found = _SUBDIVISION.fullmatch(text)
    if found is None:
        hint = did_you_mean(text, [text.upper()]) if _SUBDIVISION.fullmatch(text.upper()) else ""
        raise Unfit(f"{shown(text)} is not a subdivision{hint}", "an ISO 3166-2 code such as US-CA")
    known = SUBDIVISIONS.get(country(found[1]))
    if known is not None and found[2] not in known:
        hint = did_you_mean(found[2], known).replace("mean ", f"mean {found[1]}-") if len(found[2]) > 1 else ""
        raise Unfit(
            f"{text} is not a subdivision of {found[1]}{hint}", f"{found[1]}- and one of {_SUBDIVISIONS[found[1]]}"
        )
    return text
