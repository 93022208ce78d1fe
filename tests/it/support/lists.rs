//! Lists and counts of presences, through both APIs.

use presenced::grpc::pb::{CountPresencesRequest, ListPresencesRequest};
use serde_json::Value;

use super::{
    client::{Client, Outcome, availability_number, outcome, refused},
    contract,
    words::words,
};

impl Client {
    /// Lists a page. Without availabilities it lists all users, and an empty argument is not sent.
    /// Returns also the token of the next page; empty on the last one.
    pub async fn list(&self, shown_as: &[&str], size: i32, token: &str) -> (Outcome, String) {
        match self {
            Self::Grpc(client) => {
                let request = ListPresencesRequest {
                    page_size: size,
                    page_token: token.to_owned(),
                    availabilities: shown_as.iter().map(|word| availability_number(word)).collect(),
                    view: 0,
                };
                match client.clone().list_presences(request).await {
                    Ok(response) => {
                        let page = response.into_inner();
                        let presences = page.presences.iter().map(words).collect();
                        (Outcome::Presences(presences), page.next_page_token)
                    }
                    Err(status) => (refused(&status), String::new()),
                }
            }
            Self::Http(http, base) => {
                let size = if size == 0 { String::new() } else { size.to_string() };
                let query = query(&[("$filter", &filter(shown_as)), ("$top", &size), ("$skiptoken", token)]);
                let url = format!("{base}/communications/presences{query}");
                let response = http.get(url).send().await.unwrap();
                let (status, path) = (response.status(), response.url().path().to_owned());
                let text = response.text().await.unwrap();
                let body: Value = serde_json::from_str(&text).unwrap();
                (outcome("get", &path, status.as_u16(), Some("application/json"), &text), token_of(&body))
            }
        }
    }

    /// Lists all pages, each of at most `size` presences. Returns also the number of pages.
    pub async fn list_all(&self, shown_as: &[&str], size: i32) -> (Outcome, usize) {
        let (mut all, mut token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let (outcome, next) = self.list(shown_as, size, &token).await;
            let Outcome::Presences(presences) = outcome else { return (outcome, pages) };
            assert!(size == 0 || presences.len() <= usize::try_from(size).unwrap(), "{presences:?}");
            all.extend(presences);
            pages += 1;
            if next.is_empty() {
                return (Outcome::Presences(all), pages);
            }
            token = next;
        }
    }

    /// Counts users.
    pub async fn count(&self, shown_as: &[&str]) -> Outcome {
        match self {
            Self::Grpc(client) => {
                let availabilities = shown_as.iter().map(|word| availability_number(word)).collect();
                match client.clone().count_presences(CountPresencesRequest { availabilities }).await {
                    Ok(response) => {
                        let count = response.into_inner();
                        Outcome::Counted(count.count, count.users_read)
                    }
                    Err(status) => refused(&status),
                }
            }
            Self::Http(http, base) => {
                let query = query(&[("$filter", &filter(shown_as))]);
                let url = format!("{base}/communications/presences/$count{query}");
                let response = http.get(url).send().await.unwrap();
                let (status, path) = (response.status().as_u16(), response.url().path().to_owned());
                let read = response.headers().get("presence-users-read");
                let read = read.map(|read| read.to_str().unwrap().parse().unwrap());
                let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
                let text = response.text().await.unwrap();
                match read {
                    Some(read) => {
                        contract::check("get", &path, status, Some(&content_type), &text);
                        assert_eq!(content_type, "text/plain");
                        Outcome::Counted(text.parse().unwrap(), read)
                    }
                    None => outcome("get", &path, status, Some(&content_type), &text),
                }
            }
        }
    }
}

/// The filter for these availabilities; empty if there are none.
fn filter(shown_as: &[&str]) -> String {
    match shown_as {
        [] => String::new(),
        [one] => format!("availability eq '{one}'"),
        several => format!("availability in ('{}')", several.join("', '")),
    }
}

/// The query with the options that are not empty.
fn query(options: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::from("?"));
    query.extend_pairs(options.iter().filter(|(_, value)| !value.is_empty())).finish()
}

/// The token in the link to the next page; empty without a link.
pub fn token_of(body: &Value) -> String {
    let link = body["@odata.nextLink"].as_str().unwrap_or_default();
    let (_, query) = link.split_once('?').unwrap_or_default();
    let token = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "$skiptoken");
    token.map_or_else(String::new, |(_, token)| token.into_owned())
}
