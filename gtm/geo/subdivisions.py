"""ISO 3166-2 codes of the subdivisions of large countries, by the names that databases without codes write.

US CA BR RU CN IN AU: where a country's middle is too far from its clients to say which region is near them.
One line each: code, English name, then other spellings. Crimea, Sevastopol and other Ukrainian territory have no code
in ISO 3166-2:RU and stay without one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType

_NAMES = {
    "US": """AL Alabama|AK Alaska|AZ Arizona|AR Arkansas|CA California|CO Colorado|CT Connecticut|DE Delaware
        |DC District of Columbia; Washington DC; Washington, D.C.|FL Florida|GA Georgia|HI Hawaii|ID Idaho|IL Illinois
        |IN Indiana|IA Iowa|KS Kansas|KY Kentucky|LA Louisiana|ME Maine|MD Maryland|MA Massachusetts|MI Michigan
        |MN Minnesota|MS Mississippi|MO Missouri|MT Montana|NE Nebraska|NV Nevada|NH New Hampshire|NJ New Jersey
        |NM New Mexico|NY New York|NC North Carolina|ND North Dakota|OH Ohio|OK Oklahoma|OR Oregon|PA Pennsylvania
        |RI Rhode Island|SC South Carolina|SD South Dakota|TN Tennessee|TX Texas|UT Utah|VT Vermont|VA Virginia
        |WA Washington; Washington State|WV West Virginia|WI Wisconsin|WY Wyoming""",
    "CA": """AB Alberta|BC British Columbia|MB Manitoba|NB New Brunswick|NL Newfoundland and Labrador; Newfoundland
        |NS Nova Scotia|NT Northwest Territories|NU Nunavut|ON Ontario|PE Prince Edward Island|QC Quebec|SK Saskatchewan
        |YT Yukon; Yukon Territory""",
    "BR": """AC Acre|AL Alagoas|AP Amapa|AM Amazonas|BA Bahia|CE Ceara|DF Federal District; Distrito Federal
        |ES Espirito Santo|GO Goias|MA Maranhao|MT Mato Grosso|MS Mato Grosso do Sul|MG Minas Gerais|PA Para|PB Paraiba
        |PR Parana|PE Pernambuco|PI Piaui|RJ Rio de Janeiro|RN Rio Grande do Norte|RS Rio Grande do Sul|RO Rondonia
        |RR Roraima|SC Santa Catarina|SP Sao Paulo|SE Sergipe|TO Tocantins""",
    "RU": """AD Adygeya; Adygea|AL Altai; Altai Republic|ALT Altai Krai; Altay Kray; Altayskiy
        |AMU Amur; Amurskaya|ARK Arkhangelsk; Arkhangelskaya|AST Astrakhan; Astrakhanskaya|BA Bashkortostan
        |BEL Belgorod; Belgorodskaya|BRY Bryansk; Bryanskaya|BU Buryatiya; Buryatia|CE Chechnya; Chechen
        |CHE Chelyabinsk; Chelyabinskaya|CHU Chukotka; Chukotskiy|CU Chuvash; Chuvashia; Chuvashiya|DA Dagestan
        |IN Ingushetiya; Ingushetia|IRK Irkutsk; Irkutskaya|IVA Ivanovo; Ivanovskaya
        |KB Kabardino-Balkariya; Kabardino-Balkaria|KGD Kaliningrad; Kaliningradskaya|KL Kalmykiya; Kalmykia
        |KLU Kaluga; Kaluzhskaya|KAM Kamchatka; Kamchatskiy|KC Karachayevo-Cherkesiya; Karachay-Cherkessia
        |KR Karelia; Karelya|KEM Kemerovo; Kuzbass; Kemerovskaya|KHA Khabarovsk; Khabarovskiy|KK Khakasiya; Khakassia
        |KHM Khanty-Mansia; Khanty-Mansi; Khanty-Mansiyskiy|KIR Kirov; Kirovskaya|KO Komi|KOS Kostroma; Kostromskaya
        |KDA Krasnodar; Krasnodarskiy|KYA Krasnoyarsk; Krasnoyarskiy|KGN Kurgan; Kurganskaya|KRS Kursk; Kurskaya
        |LEN Leningrad; Leningradskaya|LIP Lipetsk; Lipetskaya|MAG Magadan; Magadanskaya|ME Mariy-El; Mari El
        |MO Mordoviya; Mordovia|MOS Moscow Oblast; Moskovskaya|MOW Moscow; Moskva|MUR Murmansk; Murmanskaya
        |NEN Nenets; Nenetskiy|NIZ Nizhny Novgorod; Nizhegorodskaya|NGR Novgorod; Novgorodskaya
        |NVS Novosibirsk; Novosibirskaya|OMS Omsk; Omskaya|ORE Orenburg; Orenburgskaya|ORL Oryol; Orel; Orlovskaya
        |PNZ Penza; Penzenskaya|PER Perm; Permskiy|PRI Primorye; Primorskiy; Primorskiy (Maritime)|PSK Pskov; Pskovskaya
        |ROS Rostov; Rostovskaya|RYA Ryazan; Ryazanskaya|SA Sakha; Yakutia|SAK Sakhalin; Sakhalinskaya
        |SAM Samara; Samarskaya|SPE St.-Petersburg; St Petersburg; Saint Petersburg; Sankt-Peterburg
        |SAR Saratov; Saratovskaya|SE North Ossetia; North Ossetia-Alania|SMO Smolensk; Smolenskaya
        |STA Stavropol; Stavropolskiy|SVE Sverdlovsk; Sverdlovskaya|TAM Tambov; Tambovskaya|TA Tatarstan
        |TOM Tomsk; Tomskaya|TUL Tula; Tulskaya|TVE Tver; Tverskaya|TYU Tyumen; Tyumenskaya|TY Tyva; Tuva
        |UD Udmurtiya; Udmurtia|ULY Ulyanovsk; Ulyanovskaya|VLA Vladimir; Vladimirskaya|VGG Volgograd; Volgogradskaya
        |VLG Vologda; Vologodskaya|VOR Voronezh; Voronezj; Voronezhskaya|YAN Yamalo-Nenets; Yamalo-Nenetskiy
        |YAR Yaroslavl; Jaroslavl; Yaroslavskaya|YEV Jewish
        |ZAB Transbaikal; Zabaykalskiy; Zabaykalskiy (Transbaikal)""",
    "CN": """AH Anhui|BJ Beijing|CQ Chongqing|FJ Fujian|GS Gansu|GD Guangdong|GX Guangxi; Guangxi Zhuangzu|GZ Guizhou
        |HI Hainan|HE Hebei|HL Heilongjiang|HA Henan|HB Hubei|HN Hunan|JS Jiangsu|JX Jiangxi|JL Jilin|LN Liaoning
        |NM Inner Mongolia; Nei Mongol|NX Ningxia; Ningxia Huizu|QH Qinghai|SN Shaanxi|SD Shandong|SH Shanghai|SX Shanxi
        |SC Sichuan|TJ Tianjin|XJ Xinjiang; Xinjiang Uygur|XZ Tibet; Xizang|YN Yunnan|ZJ Zhejiang""",
    "IN": """AN Andaman and Nicobar; Andaman and Nicobar Islands|AP Andhra Pradesh|AR Arunachal Pradesh|AS Assam
        |BR Bihar|CH Chandigarh|CG Chhattisgarh|DH Dadra and Nagar Haveli and Daman and Diu; Dadra and Nagar Haveli;
        Daman and Diu|DL Delhi; National Capital Territory of Delhi|GA Goa|GJ Gujarat|HR Haryana|HP Himachal Pradesh
        |JK Jammu and Kashmir|JH Jharkhand|KA Karnataka|KL Kerala|LA Ladakh|LD Lakshadweep|MP Madhya Pradesh
        |MH Maharashtra|MN Manipur|ML Meghalaya|MZ Mizoram|NL Nagaland|OD Odisha; Orissa|PY Puducherry; Pondicherry
        |PB Punjab|RJ Rajasthan|SK Sikkim|TN Tamil Nadu|TS Telangana|TR Tripura|UP Uttar Pradesh
        |UK Uttarakhand; Uttaranchal|WB West Bengal""",
    "AU": """ACT Australian Capital Territory; ACT|NSW New South Wales|NT Northern Territory|QLD Queensland
        |SA South Australia|TAS Tasmania|VIC Victoria|WA Western Australia""",
}

# Words that say what kind of subdivision it is; dropped only when the name as written is not in the table.
_KINDS = frozenset(
    (
        "oblast",
        "krai",
        "kray",
        "republic",
        "respublika",
        "territory",
        "autonomous",
        "okrug",
        "province",
        "state",
        "city",
    )
)


def _folded(name: str) -> tuple[str, ...]:
    plain = unicodedata.normalize("NFKD", name)
    plain = "".join(c for c in plain if not unicodedata.combining(c) and c not in "'’`ʹ")
    return tuple(re.findall(r"[a-z]+", plain.lower()))


def _read(table: str) -> dict[tuple[str, ...], str]:
    found = {}
    for entry in table.split("|"):
        code, names = entry.split(None, 1)
        found.update({_folded(name): code for name in names.split(";")})
    return found


_CODES: Mapping[str, Mapping[tuple[str, ...], str]] = MappingProxyType(
    {country: _read(table) for country, table in _NAMES.items()}
)


def subdivision_code(country: str, name: str) -> str | None:
    """The ISO 3166-2 code ("US-CA") of a subdivision's English name, or None where the table has neither."""
    names = _CODES.get(country)
    if names is None:
        return None
    words = _folded(name)
    code = names.get(words) or names.get(tuple(w for w in words if w not in _KINDS))
    return f"{country}-{code}" if code else None
