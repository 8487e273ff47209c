"""Every country of ISO 3166-1 alpha-2 (and XK, user-assigned, for Kosovo): its continent and a point in its middle.

For databases and overrides that name a country and no more. One line each: code, continent, latitude, longitude.
Continents are those of GeoLite2: AF AN AS EU NA OC SA (NA includes Central America and the Caribbean).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

CONTINENTS = frozenset(("AF", "AN", "AS", "EU", "NA", "OC", "SA"))


class Country(NamedTuple):
    """A country's continent and middle (degrees)."""

    continent: str
    latitude: float
    longitude: float


_TABLE = """
AD EU 42.5 1.5      AE AS 24.0 54.0     AF AS 33.9 67.7     AG NA 17.1 -61.8    AI NA 18.2 -63.1
AL EU 41.2 20.2     AM AS 40.1 45.0     AO AF -11.2 17.9    AQ AN -82.9 -135.0  AR SA -34.9 -60.0
AS OC -14.3 -170.7  AT EU 47.6 14.6     AU OC -33.5 147.0   AW NA 12.5 -70.0    AX EU 60.2 20.0
AZ AS 40.1 47.6     BA EU 43.9 17.7     BB NA 13.2 -59.5    BD AS 23.7 90.4     BE EU 50.8 4.5
BF AF 12.2 -1.6     BG EU 42.7 25.5     BH AS 26.1 50.6     BI AF -3.4 29.9     BJ AF 9.3 2.3
BL NA 17.9 -62.8    BM NA 32.3 -64.8    BN AS 4.5 114.7     BO SA -16.3 -63.6   BQ NA 12.2 -68.3
BR SA -20.0 -47.0   BS NA 25.0 -77.4    BT AS 27.5 90.4     BV AN -54.4 3.4     BW AF -22.3 24.7
BY EU 53.7 28.0     BZ NA 17.2 -88.5    CA NA 47.0 -84.0    CC AS -12.2 96.9    CD AF -4.0 21.8
CF AF 6.6 20.9      CG AF -0.2 15.8     CH EU 46.8 8.2      CI AF 7.5 -5.5      CK OC -21.2 -159.8
CL SA -33.5 -70.8   CM AF 7.4 12.4      CN AS 32.0 114.0    CO SA 4.6 -74.3     CR NA 9.7 -83.8
CU NA 21.5 -77.8    CV AF 15.1 -23.6    CW NA 12.2 -69.0    CX AS -10.4 105.7   CY AS 35.1 33.4
CZ EU 49.8 15.5     DE EU 51.2 10.5     DJ AF 11.8 42.6     DK EU 56.0 10.5     DM NA 15.4 -61.4
DO NA 18.7 -70.2    DZ AF 36.0 3.0      EC SA -1.8 -78.2    EE EU 58.6 25.0     EG AF 30.0 31.2
EH AF 24.2 -12.9    ER AF 15.2 39.8     ES EU 40.4 -3.7     ET AF 9.1 40.5      FI EU 61.5 25.0
FJ OC -17.8 178.0   FK SA -51.8 -59.5   FM OC 6.9 158.2     FO EU 62.0 -6.9     FR EU 47.5 2.2
GA AF -0.8 11.6     GB EU 52.5 -1.5     GD NA 12.1 -61.7    GE AS 42.0 43.5     GF SA 4.0 -53.1
GG EU 49.5 -2.6     GH AF 7.9 -1.0      GI EU 36.1 -5.3     GL NA 64.2 -51.7    GM AF 13.4 -15.3
GN AF 9.9 -9.7      GP NA 16.3 -61.6    GQ AF 1.7 10.3      GR EU 38.5 23.5     GS AN -54.4 -36.6
GT NA 15.0 -90.5    GU OC 13.4 144.8    GW AF 11.8 -15.2    GY SA 5.5 -58.9     HK AS 22.3 114.2
HM AN -53.1 73.5    HN NA 14.8 -86.9    HR EU 45.1 15.8     HT NA 18.9 -72.5    HU EU 47.2 19.4
ID AS -6.5 107.5    IE EU 53.3 -7.0     IL AS 32.0 34.9     IM EU 54.2 -4.5     IN AS 20.6 78.0
IO AS -6.3 71.9     IQ AS 33.2 44.0     IR AS 34.0 52.0     IS EU 64.5 -20.0    IT EU 43.0 12.0
JE EU 49.2 -2.1     JM NA 18.1 -77.3    JO AS 31.5 36.3     JP AS 35.9 137.8    KE AF -0.5 37.0
KG AS 42.0 74.5     KH AS 12.0 105.0    KI OC 1.4 173.0     KM AF -11.8 43.6    KN NA 17.3 -62.7
KP AS 39.5 126.5    KR AS 36.8 127.5    KW AS 29.3 47.7     KY NA 19.4 -81.1    KZ AS 47.5 70.0
LA AS 18.2 103.0    LB AS 33.9 35.7     LC NA 13.9 -61.0    LI EU 47.2 9.6      LK AS 7.2 80.5
LR AF 6.4 -9.8      LS AF -29.5 28.0    LT EU 55.2 24.2     LU EU 49.7 6.1      LV EU 56.9 24.6
LY AF 32.3 15.0     MA AF 33.0 -7.0     MC EU 43.7 7.4      MD EU 47.1 28.6     ME EU 42.6 19.3
MF NA 18.1 -63.1    MG AF -19.0 47.0    MH OC 7.1 171.2     MK EU 41.7 21.6     ML AF 13.0 -7.0
MM AS 19.0 96.2     MN AS 47.6 106.0    MO AS 22.2 113.5    MP OC 15.2 145.7    MQ NA 14.6 -61.0
MR AF 18.5 -14.0    MS NA 16.7 -62.2    MT EU 35.9 14.4     MU AF -20.3 57.6    MV AS 3.7 73.3
MW AF -14.2 34.2    MX NA 20.5 -100.5   MY AS 3.5 102.5     MZ AF -20.0 35.0    NA AF -22.3 17.1
NC OC -21.8 165.8   NE AF 14.0 5.0      NF OC -29.0 168.0   NG AF 7.5 5.5       NI NA 12.3 -86.0
NL EU 52.2 5.1      NO EU 60.5 9.5      NP AS 27.8 85.0     NR OC -0.5 166.9    NU OC -19.1 -169.9
NZ OC -39.5 175.2   OM AS 22.5 58.0     PA NA 8.9 -79.7     PE SA -11.0 -76.5   PF OC -17.6 -149.5
PG OC -6.5 146.0    PH AS 13.5 121.5    PK AS 31.0 72.0     PL EU 52.0 19.4     PM NA 46.8 -56.2
PN OC -25.1 -130.1  PR NA 18.3 -66.3    PS AS 31.9 35.2     PT EU 39.5 -8.6     PW OC 7.4 134.5
PY SA -25.0 -57.0   QA AS 25.3 51.4     RE AF -21.1 55.5    RO EU 45.4 25.3     RS EU 44.4 20.6
RU EU 55.8 43.0     RW AF -1.9 29.9     SA AS 24.2 44.5     SB OC -9.4 160.0    SC AF -4.6 55.5
SD AF 15.2 32.8     SE EU 59.3 16.2     SG AS 1.3 103.8     SH AF -16.0 -5.7    SI EU 46.1 14.8
SJ EU 78.2 15.6     SK EU 48.7 19.0     SL AF 8.5 -12.5     SM EU 43.9 12.5     SN AF 14.6 -16.5
SO AF 3.0 45.5      SR SA 5.7 -55.2     SS AF 5.5 31.3      ST AF 0.3 6.7       SV NA 13.7 -89.0
SX NA 18.0 -63.1    SY AS 34.5 37.2     SZ AF -26.4 31.4    TC NA 21.8 -72.0    TD AF 12.5 15.5
TF AN -49.3 69.3    TG AF 7.0 1.1       TH AS 14.0 100.7    TJ AS 38.5 69.0     TK OC -9.0 -171.9
TL AS -8.6 125.8    TM AS 38.2 58.7     TN AF 36.2 10.0     TO OC -21.2 -175.2  TR AS 39.8 31.5
TT NA 10.5 -61.3    TV OC -8.5 179.2    TW AS 24.5 121.0    TZ AF -6.5 37.0     UA EU 49.3 31.2
UG AF 0.6 32.5      UM OC 19.3 166.6    US NA 38.5 -93.0    UY SA -34.3 -56.2   UZ AS 40.5 66.5
VA EU 41.9 12.5     VC NA 13.2 -61.2    VE SA 9.8 -67.5     VG NA 18.4 -64.6    VI NA 18.2 -64.9
VN AS 16.0 107.0    VU OC -17.0 168.0   WF OC -13.5 -176.2  WS OC -13.8 -172.0  XK EU 42.6 20.9
YE AS 15.0 45.0     YT AF -12.8 45.2    ZA AF -28.5 28.0    ZM AF -14.0 28.2    ZW AF -18.5 30.5
"""


def _read(table: str) -> dict[str, Country]:
    words = table.split()
    return {
        code: Country(continent, float(latitude), float(longitude))
        for code, continent, latitude, longitude in zip(*(words[i::4] for i in range(4)), strict=True)
    }


COUNTRIES: Mapping[str, Country] = MappingProxyType(_read(_TABLE))
