//! Sheets as the XML of a workbook (ECMA-376, SpreadsheetML), packed.

use std::fmt::Write as _;
use std::io;

use super::sheet::{Cell, Format, Kind, Sheet, at};
use super::zip::Zip;
use crate::report::text::{escape, shorten};

/// Characters that a cell holds; a name is far shorter.
const MOST_TEXT: usize = 32_000;
const MAIN: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
const RELATIONS: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006";
const OFFICE: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml";
const PACKED: &str = "application/vnd.openxmlformats-package";
const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n";

/// What the document says of itself.
pub struct Properties<'a> {
    pub title: &'a str,
    pub subject: &'a str,
    pub creator: &'a str,
    /// `YYYY-MM-DD`: the day of the data, so that the same data give the same bytes.
    pub created: &'a str,
}

/// The look of a cell. The number of each in the order of first use is its number in the style sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Title,
    Note,
    Head {
        numeric: bool,
    },
    /// `risky`: a text that would become a formula if someone edited the cell.
    Body {
        kind: Kind,
        format: Format,
        risky: bool,
    },
}

/// The looks in use.
struct Looks(Vec<Look>);

impl Looks {
    fn of(&mut self, look: Look) -> usize {
        if let Some(place) = self.0.iter().position(|known| *known == look) {
            return place + 1;
        }
        self.0.push(look);
        self.0.len()
    }
}

/// The workbook. The same sheets give the same bytes.
///
/// # Errors
/// When it is larger than a container can be.
pub fn workbook(sheets: &[Sheet], properties: &Properties) -> io::Result<Vec<u8>> {
    let mut looks = Looks(Vec::new());
    let pages: Vec<String> = sheets
        .iter()
        .enumerate()
        .map(|(place, sheet)| page(sheet, place == 0, &mut looks))
        .collect();
    let mut zip = Zip::default();
    let mut add = |name: &str, text: String| zip.add(name, format!("{XML}{text}").as_bytes());
    add("[Content_Types].xml", content_types(sheets.len()))?;
    add(
        "_rels/.rels",
        relations(&[
            (
                format!("{RELATIONS}/officeDocument"),
                "xl/workbook.xml".to_owned(),
            ),
            (
                format!("{PACKAGE}/relationships/metadata/core-properties"),
                "docProps/core.xml".to_owned(),
            ),
        ]),
    )?;
    add("docProps/core.xml", core(properties))?;
    add("xl/workbook.xml", contents(sheets))?;
    let mut parts: Vec<(String, String)> = (1..=sheets.len())
        .map(|number| {
            (
                format!("{RELATIONS}/worksheet"),
                format!("worksheets/sheet{number}.xml"),
            )
        })
        .collect();
    parts.push((format!("{RELATIONS}/styles"), "styles.xml".to_owned()));
    add("xl/_rels/workbook.xml.rels", relations(&parts))?;
    add("xl/styles.xml", styles(&looks.0))?;
    for (place, page) in pages.into_iter().enumerate() {
        add(&format!("xl/worksheets/sheet{}.xml", place + 1), page)?;
    }
    zip.done()
}

/// Text for XML. What looks like the format's own escape of a character (`_x000D_`) is escaped itself.
fn text(text: &str) -> String {
    let mut safe = escape(&shorten(text, MOST_TEXT));
    if safe.contains("_x") {
        safe = safe.replace("_x", "_x005F_x");
    }
    safe
}

fn page(sheet: &Sheet, first: bool, looks: &mut Looks) -> String {
    let columns = sheet.columns.len().max(1);
    let last = sheet.next() - 1;
    let mut out = format!(
        "<worksheet xmlns=\"{MAIN}\" xmlns:r=\"{RELATIONS}\"><sheetPr><pageSetUpPr fitToPage=\"1\"/></sheetPr>\
         <dimension ref=\"A1:{}\"/><sheetViews><sheetView showGridLines=\"0\" workbookViewId=\"0\"{}>\
         <pane ySplit=\"3\" topLeftCell=\"A4\" activePane=\"bottomLeft\" state=\"frozen\"/>\
         <selection pane=\"bottomLeft\" activeCell=\"A4\" sqref=\"A4\"/></sheetView></sheetViews>\
         <sheetFormatPr defaultRowHeight=\"15\"/><cols>",
        at(columns - 1, last),
        if first { " tabSelected=\"1\"" } else { "" }
    );
    for (place, column) in sheet.columns.iter().enumerate() {
        let number = place + 1;
        let _ = write!(
            out,
            "<col min=\"{number}\" max=\"{number}\" width=\"{}\" customWidth=\"1\"/>",
            column.width
        );
    }
    out.push_str("</cols><sheetData>");
    for (number, words, look) in [(1, &sheet.title, Look::Title), (2, &sheet.note, Look::Note)] {
        let _ = write!(
            out,
            "<row r=\"{number}\">{}</row>",
            words_cell(&at(0, number), looks.of(look), words)
        );
    }
    out.push_str("<row r=\"3\">");
    for (place, column) in sheet.columns.iter().enumerate() {
        let style = looks.of(Look::Head {
            numeric: column.numeric,
        });
        out.push_str(&words_cell(&at(place, 3), style, &column.head));
    }
    out.push_str("</row>");
    for (place, (kind, cells)) in sheet.rows.iter().enumerate() {
        let number = place + 4;
        let _ = write!(out, "<row r=\"{number}\">");
        for (column, cell) in cells.iter().enumerate() {
            out.push_str(&content(&at(column, number), *kind, cell, looks));
        }
        out.push_str("</row>");
    }
    out.push_str("</sheetData>");
    if let Some(reference) = filter(sheet) {
        let _ = write!(out, "<autoFilter ref=\"{reference}\"/>");
    }
    let _ = write!(
        out,
        "<pageMargins left=\"0.4\" right=\"0.4\" top=\"0.6\" bottom=\"0.6\" header=\"0.3\" footer=\"0.3\"/>\
         <pageSetup paperSize=\"9\" orientation=\"landscape\" fitToWidth=\"1\" fitToHeight=\"0\"/>\
         <headerFooter><oddFooter>&amp;L{}&amp;RPage &amp;P of &amp;N</oddFooter></headerFooter></worksheet>",
        sheet.name
    );
    out
}

/// The heads and the rows that the filter covers.
fn filter(sheet: &Sheet) -> Option<String> {
    let rows = sheet.filtered?;
    Some(format!(
        "A3:{}",
        at(sheet.columns.len().saturating_sub(1), rows + 3)
    ))
}

fn words_cell(reference: &str, style: usize, words: &str) -> String {
    format!(
        "<c r=\"{reference}\" s=\"{style}\" t=\"inlineStr\"><is><t xml:space=\"preserve\">{}</t></is></c>",
        text(words)
    )
}

fn content(reference: &str, kind: Kind, cell: &Cell, looks: &mut Looks) -> String {
    let mut style = |format: Format, risky: bool| {
        looks.of(Look::Body {
            kind,
            format,
            risky,
        })
    };
    match cell {
        Cell::Empty => format!(
            "<c r=\"{reference}\" s=\"{}\"/>",
            style(Format::Text, false)
        ),
        Cell::Text(words) => {
            let risky = crate::report::csv::safe(words) != *words;
            words_cell(reference, style(Format::Text, risky), words)
        }
        Cell::Number(value, format) => format!(
            "<c r=\"{reference}\" s=\"{}\"><v>{value}</v></c>",
            style(*format, false)
        ),
        Cell::Formula(formula, value, format) => format!(
            "<c r=\"{reference}\" s=\"{}\"><f>{}</f><v>{value}</v></c>",
            style(*format, false),
            escape(formula)
        ),
    }
}

fn content_types(sheets: usize) -> String {
    let mut out = format!(
        "<Types xmlns=\"{PACKAGE}/content-types\"><Default Extension=\"rels\" ContentType=\"{PACKED}.relationships+xml\"/>\
         <Default Extension=\"xml\" ContentType=\"application/xml\"/>\
         <Override PartName=\"/xl/workbook.xml\" ContentType=\"{OFFICE}.sheet.main+xml\"/>\
         <Override PartName=\"/xl/styles.xml\" ContentType=\"{OFFICE}.styles+xml\"/>\
         <Override PartName=\"/docProps/core.xml\" ContentType=\"{PACKED}.core-properties+xml\"/>"
    );
    for number in 1..=sheets {
        let _ = write!(
            out,
            "<Override PartName=\"/xl/worksheets/sheet{number}.xml\" ContentType=\"{OFFICE}.worksheet+xml\"/>"
        );
    }
    out.push_str("</Types>");
    out
}

fn relations(parts: &[(String, String)]) -> String {
    let mut out = format!("<Relationships xmlns=\"{PACKAGE}/relationships\">");
    for (place, (kind, target)) in parts.iter().enumerate() {
        let _ = write!(
            out,
            "<Relationship Id=\"rId{}\" Type=\"{kind}\" Target=\"{target}\"/>",
            place + 1
        );
    }
    out.push_str("</Relationships>");
    out
}

fn core(properties: &Properties) -> String {
    let created = format!("{}T00:00:00Z", properties.created);
    format!(
        "<cp:coreProperties xmlns:cp=\"{PACKAGE}/metadata/core-properties\" xmlns:dc=\"http://purl.org/dc/elements/1.1/\" \
         xmlns:dcterms=\"http://purl.org/dc/terms/\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
         <dc:title>{}</dc:title><dc:subject>{}</dc:subject><dc:creator>{}</dc:creator>\
         <dcterms:created xsi:type=\"dcterms:W3CDTF\">{created}</dcterms:created>\
         <dcterms:modified xsi:type=\"dcterms:W3CDTF\">{created}</dcterms:modified></cp:coreProperties>",
        escape(properties.title),
        escape(properties.subject),
        escape(properties.creator)
    )
}

fn contents(sheets: &[Sheet]) -> String {
    let mut out = format!(
        "<workbook xmlns=\"{MAIN}\" xmlns:r=\"{RELATIONS}\"><bookViews><workbookView activeTab=\"0\"/></bookViews><sheets>"
    );
    for (place, sheet) in sheets.iter().enumerate() {
        let number = place + 1;
        let _ = write!(
            out,
            "<sheet name=\"{}\" sheetId=\"{number}\" r:id=\"rId{number}\"/>",
            sheet.name
        );
    }
    out.push_str("</sheets><definedNames>");
    // Sorted by name, as the format's own writers do.
    for (place, sheet) in sheets.iter().enumerate() {
        if let Some((first, last)) = filter(sheet)
            .as_deref()
            .and_then(|range| range.split_once(':'))
        {
            let absolute = |cell: &str| {
                let row = cell.trim_start_matches(|c: char| c.is_ascii_alphabetic());
                format!("${}${row}", &cell[..cell.len() - row.len()])
            };
            let _ = write!(
                out,
                "<definedName name=\"_xlnm._FilterDatabase\" localSheetId=\"{place}\" hidden=\"1\">{}!{}:{}</definedName>",
                sheet.name,
                absolute(first),
                absolute(last)
            );
        }
    }
    for (place, sheet) in sheets.iter().enumerate() {
        let _ = write!(
            out,
            "<definedName name=\"_xlnm.Print_Titles\" localSheetId=\"{place}\">{}!$1:$3</definedName>",
            sheet.name
        );
    }
    out.push_str("</definedNames><calcPr calcId=\"191029\" fullCalcOnLoad=\"1\"/></workbook>");
    out
}

fn styles(looks: &[Look]) -> String {
    let mut formats: Vec<String> = Vec::new();
    let mut number = |format: Format| {
        let code = match format {
            Format::Text => return 0,
            Format::Count | Format::Decimal(0) => "#,##0;[Red]-#,##0".to_owned(),
            Format::Decimal(digits) => {
                let places = "0".repeat(digits as usize);
                format!("#,##0.{places};[Red]-#,##0.{places}")
            }
            Format::Percent => "0.0%".to_owned(),
            Format::Date => "yyyy\\-mm\\-dd".to_owned(),
        };
        // Those below 164 are built in.
        let place = formats.iter().position(|known| *known == code);
        place.unwrap_or_else(|| {
            formats.push(code);
            formats.len() - 1
        }) + 164
    };
    let mut cells =
        String::from("<xf numFmtId=\"0\" fontId=\"0\" fillId=\"0\" borderId=\"0\" xfId=\"0\"/>");
    for look in looks {
        let (format, font, fill, border, align, quote) = match *look {
            Look::Title => (0, 2, 0, 0, "", ""),
            Look::Note => (0, 3, 0, 0, "", ""),
            Look::Head { numeric } => {
                let side = if numeric { "right" } else { "left" };
                (0, 1, 2, 1, side, "")
            }
            Look::Body {
                kind,
                format,
                risky,
            } => {
                let (font, border) = match kind {
                    Kind::Leaf => (0, 0),
                    Kind::Subtotal => (1, 1),
                    Kind::Total => (1, 2),
                };
                let quote = if risky { " quotePrefix=\"1\"" } else { "" };
                (number(format), font, 0, border, "", quote)
            }
        };
        let align = match align {
            "" => "<alignment vertical=\"top\"/>".to_owned(),
            side => format!("<alignment horizontal=\"{side}\" vertical=\"top\" wrapText=\"1\"/>"),
        };
        let _ = write!(
            cells,
            "<xf numFmtId=\"{format}\" fontId=\"{font}\" fillId=\"{fill}\" borderId=\"{border}\" xfId=\"0\"{quote} \
             applyNumberFormat=\"1\" applyFont=\"1\" applyFill=\"1\" applyBorder=\"1\" applyAlignment=\"1\">{align}</xf>"
        );
    }
    let mut out = format!("<styleSheet xmlns=\"{MAIN}\">");
    if !formats.is_empty() {
        let _ = write!(out, "<numFmts count=\"{}\">", formats.len());
        for (place, code) in formats.iter().enumerate() {
            let _ = write!(
                out,
                "<numFmt numFmtId=\"{}\" formatCode=\"{}\"/>",
                place + 164,
                escape(code)
            );
        }
        out.push_str("</numFmts>");
    }
    let font = |more: &str, size: u32, colour: &str| {
        format!(
            "<font>{more}<sz val=\"{size}\"/><color rgb=\"{colour}\"/><name val=\"Calibri\"/><family val=\"2\"/></font>"
        )
    };
    let side = |name: &str, style: &str| {
        format!("<{name} style=\"{style}\"><color rgb=\"FF8B8F96\"/></{name}>")
    };
    let _ = write!(
        out,
        "<fonts count=\"4\">{}{}{}{}</fonts>\
         <fills count=\"3\"><fill><patternFill patternType=\"none\"/></fill><fill><patternFill patternType=\"gray125\"/></fill>\
         <fill><patternFill patternType=\"solid\"><fgColor rgb=\"FFEFEDE7\"/><bgColor indexed=\"64\"/></patternFill></fill></fills>\
         <borders count=\"3\"><border><left/><right/><top/><bottom/><diagonal/></border>\
         <border><left/><right/><top/>{}<diagonal/></border>\
         <border><left/><right/>{}{}<diagonal/></border></borders>\
         <cellStyleXfs count=\"1\"><xf numFmtId=\"0\" fontId=\"0\" fillId=\"0\" borderId=\"0\"/></cellStyleXfs>\
         <cellXfs count=\"{}\">{cells}</cellXfs>\
         <cellStyles count=\"1\"><cellStyle name=\"Normal\" xfId=\"0\" builtinId=\"0\"/></cellStyles></styleSheet>",
        font("", 11, "FF1C2026"),
        font("<b/>", 11, "FF1C2026"),
        font("<b/>", 14, "FF1C2026"),
        font("<i/>", 10, "FF5A616C"),
        side("bottom", "thin"),
        side("top", "thin"),
        side("bottom", "double"),
        looks.len() + 1
    );
    out
}
