//! Lists subscriptions. Graph: list subscriptions.

use crate::{
    service::{
        Caller, Error, Input, Operation, Service,
        page_token::{subscription_before, token_after_subscription, wrong_token},
    },
    store::{ListSubscriptions as Page, Subscription},
};

/// The number of subscriptions on a page, unless the request asks for fewer.
const PAGE_SIZE: u32 = 100;

/// A request for a page of subscriptions, as a caller sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListSubscriptions {
    /// 1 to 100; 100 if missing.
    pub page_size: Input<u32>,
    /// The token of the page before.
    pub page_token: Input<String>,
}

/// A page of subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionPage {
    /// The subscriptions, in the order of their ids.
    pub subscriptions: Vec<Subscription>,
    /// The token of the next page; `None` on the last page.
    pub next: Option<String>,
}

impl Service {
    /// A page of the subscriptions of the caller's application; an administrator sees those of all
    /// applications of the tenant. Those that the application made for other users are left out, so a
    /// page can be short. URLs are without their queries, which can contain secrets.
    pub async fn list_subscriptions(
        &self,
        caller: &Caller,
        request: ListSubscriptions,
    ) -> Result<SubscriptionPage, Error> {
        let mut validator = self.validator();
        let max = usize::try_from(PAGE_SIZE).unwrap_or_default();
        let size = validator.page_size(request.page_size, PAGE_SIZE, max);
        let limit = validator.finish(size)?;
        let tenant_id = caller.authorize_tenant(Operation::ListSubscriptions)?;
        let application = (!caller.manages_all()).then(|| caller.application().1.cloned());
        let query = format!("{tenant_id} {application:?}");
        let after = match request.page_token {
            Input::Missing => None,
            Input::Value(token) => Some(subscription_before(&query, &token).ok_or_else(wrong_token)?),
            Input::Unreadable(_) => return Err(wrong_token()),
        };
        let mut subscriptions =
            self.batches.subscriptions.call_one(Page { tenant_id, application, after, limit }).await?;
        let is_full = u32::try_from(subscriptions.len()).is_ok_and(|length| length == limit);
        let last = subscriptions.last().filter(|_| is_full).map(|last| last.key.subscription_id);
        subscriptions.retain(|subscription| caller.manages_all() || caller.made(&subscription.created_by));
        for subscription in &mut subscriptions {
            let request = &mut subscription.request;
            for url in [Some(&mut request.url), request.lifecycle_url.as_mut()].into_iter().flatten() {
                url.truncate(url.find('?').unwrap_or(url.len()));
            }
        }
        Ok(SubscriptionPage { subscriptions, next: last.map(|last| token_after_subscription(&query, last)) })
    }
}
