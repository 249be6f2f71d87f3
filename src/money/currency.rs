//! Currencies of ISO 4217 and their minor units.

use std::fmt;

use super::{Money, MoneyError, present};

/// A currency of ISO 4217. Six codes withdrawn since 2022 are read as well, for older bills.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

const NO_MINOR_UNIT: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF";
const TWO_DIGITS: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD \
     CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ \
     GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT \
     MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD \
     SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED \
     VES WST XAD XCD XCG YER ZAR ZMW ZWG ANG BGN CUC HRK SLL ZWL";
const THREE_DIGITS: &str = "BHD IQD JOD KWD LYD OMR TND";
const FOUR_DIGITS: &str = "CLF UYW";

impl Currency {
    /// What ISO 4217 keeps for no currency. No bill is in it, so it is not read as one.
    pub const NONE: &str = "XXX";

    /// Reads a code; case and blanks around it do not matter.
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        let unknown = || MoneyError::UnknownCurrency {
            text: text.to_owned(),
        };
        let code: [u8; 3] = text.trim().as_bytes().try_into().map_err(|_| unknown())?;
        let currency = Self(code.map(|letter| letter.to_ascii_uppercase()));
        currency.minor_unit().map(|_| currency).ok_or_else(unknown)
    }

    /// Decimal places of the minor unit: 2 for USD, 0 for JPY.
    pub fn digits(self) -> u32 {
        self.minor_unit().unwrap_or(2)
    }

    /// Three upper-case letters.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or(Self::NONE)
    }

    /// [`present`] in this currency's minor unit.
    pub fn cents(self, leaves: &[Money]) -> Result<Vec<Money>, MoneyError> {
        present(leaves, self.digits())
    }

    fn minor_unit(self) -> Option<u32> {
        let lists = [
            (2, TWO_DIGITS),
            (0, NO_MINOR_UNIT),
            (3, THREE_DIGITS),
            (4, FOUR_DIGITS),
        ];
        let found = lists
            .iter()
            .find(|(_, codes)| codes.split(' ').any(|code| code.as_bytes() == self.0));
        found.map(|(digits, _)| *digits)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl std::str::FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        Self::parse(text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn currencies_are_those_of_iso_4217() {
        let digits = |code: &str| Currency::parse(code).unwrap().digits();
        assert_eq!(
            (digits("usd "), digits("JPY"), digits("KWD"), digits("CLF")),
            (2, 0, 3, 4)
        );
        assert_eq!(Currency::parse("eur").unwrap().to_string(), "EUR");
        for text in ["", "US", "USDX", "ABC", "   ", "U D", Currency::NONE] {
            assert!(
                matches!(
                    Currency::parse(text),
                    Err(MoneyError::UnknownCurrency { .. })
                ),
                "{text}"
            );
        }
        let all = [TWO_DIGITS, NO_MINOR_UNIT, THREE_DIGITS, FOUR_DIGITS].join(" ");
        let mut codes: Vec<&str> = all.split(' ').collect();
        assert!(codes.iter().all(|code| code.len() == 3));
        codes.sort_unstable();
        let count = codes.len();
        codes.dedup();
        assert_eq!(codes.len(), count);
    }

    #[test]
    fn cents_add_up_to_the_shown_total() {
        let cents = |leaves: &[&str]| {
            let leaves: Vec<Money> = leaves
                .iter()
                .map(|leaf| Money::parse(leaf).unwrap().0)
                .collect();
            let shown = Currency::parse("USD").unwrap().cents(&leaves).unwrap();
            shown
                .iter()
                .map(|leaf| leaf.fixed(2).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            cents(&["394.945714285714285714", "126.494285714285714286"]),
            ["394.95", "126.49"]
        );
        assert_eq!(
            cents(&["0.333", "0.333", "0.334"]),
            ["0.33", "0.33", "0.34"]
        );
        assert_eq!(cents(&["-0.005", "-0.005"]), ["0.00", "-0.01"]);
        assert_eq!(cents(&[]), Vec::<String>::new());
    }
}
