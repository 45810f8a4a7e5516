//! The report as one HTML page that needs nothing else: no script, no other file, no network. Pure.

use std::fmt::Write;

use serde_json::Value;

use super::dossier::Dossier;

const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}\
table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #bbb;padding:.2em .6em;text-align:left;vertical-align:top}\
.bad{color:#a00;font-weight:bold}.good{color:#060;font-weight:bold}code{font-size:90%}";

/// Text as HTML: what stands in a log is nobody's markup.
fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
        out
    })
}

/// A value in words: a text without its quotes, `–` for what is unknown.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => escape(text),
        other => escape(&other.to_string()),
    }
}

fn rows<'a>(page: &mut String, rows: impl IntoIterator<Item = (&'a str, String)>) {
    page.push_str("<table>\n");
    for (name, value) in rows {
        page.push_str(&format!("<tr><th>{}</th><td>{value}</td></tr>\n", escape(name)));
    }
    page.push_str("</table>\n");
}

/// The whole page.
#[must_use]
pub fn page(dossier: &Dossier) -> String {
    let name = escape(&dossier.target);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>scrubd: {name}</title><style>{STYLE}</style></head>\n\
         <body>\n<h1>{name}</h1>\n"
    );
    page.push_str(&format!("<p>{}</p>\n", conclusion(dossier)));
    let identity = &dossier.identity;
    let device = ["kind", "model", "serial", "wwn", "size"].map(|key| (key, shown(&identity["identity"][key])));
    let geometry = ["offset", "length", "block_size", "atom"].map(|key| (key, shown(&identity["geometry"][key])));
    rows(&mut page, [("run", shown(&identity["run_id"])), ("state", escape(&dossier.state_dir))]);
    page.push_str("<h2>Target</h2>\n");
    rows(&mut page, device.into_iter().chain(geometry));
    page.push_str("<h2>Last check</h2>\n");
    let verdict = &dossier.verdict;
    let first = ["verdict", "at", "state", "proved_by"].map(|key| (key, shown(&verdict[key])));
    let blocks = ["total", "intact", "rolled_back", "interrupted", "unwritten", "findings"];
    rows(&mut page, first.into_iter().chain(blocks.map(|key| (key, shown(&verdict["blocks"][key])))));
    findings(&mut page, dossier);
    page.push_str("<h2>Events</h2>\n");
    rows(&mut page, dossier.counts.iter().map(|(name, count)| (name.as_str(), count.to_string())));
    page.push_str("<table>\n<tr><th>n</th><th>at</th><th>event</th><th></th></tr>\n");
    for event in &dossier.events {
        let head = ["n", "at", "event"];
        let rest = event.as_object().into_iter().flatten().filter(|(key, _)| !head.contains(&key.as_str()));
        let rest: Vec<String> = rest.map(|(key, value)| format!("{}={}", escape(key), shown(value))).collect();
        let cells = head.map(|key| format!("<td>{}</td>", shown(&event[key]))).concat();
        page.push_str(&format!("<tr>{cells}<td><code>{}</code></td></tr>\n", rest.join(" ")));
    }
    page.push_str("</table>\n");
    for gap in &dossier.gaps {
        page.push_str(&format!("<p class=\"bad\">{}</p>\n", escape(gap)));
    }
    page.push_str(&format!("<p>scrubd {}</p>\n</body></html>", env!("CARGO_PKG_VERSION")));
    page
}

fn conclusion(dossier: &Dossier) -> String {
    let new = dossier.new_findings();
    let told = match (&dossier.quarantine, new, dossier.verdict["verdict"].as_str()) {
        (Some(why), ..) => {
            format!("<span class=\"bad\">quarantined</span> since {}: {}", escape(&why.at), escape(&why.reason))
        }
        (None, 1.., _) => "<span class=\"bad\">a promise was broken</span>, and the quarantine was lifted".to_owned(),
        (None, 0, Some("intact")) => {
            "<span class=\"good\">intact</span>: the last check found every promise kept".to_owned()
        }
        (None, 0, Some(verdict)) => format!("{}, and no finding on record", escape(verdict)),
        (None, 0, None) => "no check on record, and no finding".to_owned(),
    };
    format!("{told}. {new} new finding{} on record.", if new == 1 { "" } else { "s" })
}

fn findings(page: &mut String, dossier: &Dossier) {
    page.push_str("<h2>Findings</h2>\n");
    if dossier.new_findings() == 0 {
        page.push_str("<p>none</p>\n");
        return;
    }
    rows(page, dossier.classes.iter().map(|(class, count)| (class.as_str(), count.to_string())));
    let columns = [
        "at",
        "class",
        "block",
        "offset",
        "persistence",
        "proved_by",
        "expected_seq",
        "found_seq",
        "detail",
        "evidence",
    ];
    let heads: String = columns.iter().map(|column| format!("<th>{column}</th>")).collect();
    page.push_str(&format!("<table>\n<tr>{heads}</tr>\n"));
    for finding in &dossier.findings {
        let cells: String = columns.iter().map(|column| format!("<td>{}</td>", shown(&finding[*column]))).collect();
        page.push_str(&format!("<tr>{cells}</tr>\n"));
    }
    page.push_str("</table>\n");
    let unlisted = dossier.new_findings() - dossier.findings.len() as u64;
    if unlisted > 0 {
        // Writing to a String cannot fail.
        writeln!(page, "<p>{unlisted} more are in the event log.</p>").expect("memory");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_log_says_is_never_markup() {
        assert_eq!(escape("<b a=\"1\">&'"), "&lt;b a=&quot;1&quot;&gt;&amp;&#39;");
        assert_eq!(shown(&serde_json::json!("<i>")), "&lt;i&gt;");
        assert_eq!(shown(&Value::Null), "–");
    }
}
