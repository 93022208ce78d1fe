//! The implementation of `presence.v1.PresenceService`: each RPC calls one method of the service.

use std::{mem, sync::Arc};

use futures_util::{
    StreamExt,
    stream::{BoxStream, iter},
};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataValue};

use super::{
    convert::{optional_instant, set_location, view, watched_users},
    lists::availabilities,
    pb::{
        self, BatchClearPresencesRequest, BatchClearPresencesResponse, BatchGetPresencesRequest,
        BatchGetPresencesResponse, BatchSetPresencesRequest, BatchSetPresencesResponse,
        ClearAutomaticLocationRequest, ClearAutomaticLocationResponse, ClearLocationRequest,
        ClearLocationResponse, ClearPresenceRequest, ClearPresenceResponse,
        ClearUserPreferredPresenceRequest, ClearUserPreferredPresenceResponse, CountPresencesRequest,
        CountPresencesResponse, ErasePresenceRequest, ErasePresenceResponse, ExplainPresenceRequest,
        ExplainPresenceResponse, ExportPresenceRequest, ExportPresenceResponse, GetPresenceRequest,
        GetPresenceResponse, HoldPresenceRequest, HoldPresenceResponse, KeepPresenceRequest,
        KeepPresenceResponse, ListPresenceHistoryRequest, ListPresenceHistoryResponse, ListPresencesRequest,
        ListPresencesResponse, SetAutomaticLocationRequest, SetAutomaticLocationResponse,
        SetManualLocationRequest, SetManualLocationResponse, SetPresenceRequest, SetPresenceResponse,
        SetStatusMessageRequest, SetStatusMessageResponse, SetUserPreferredPresenceRequest,
        SetUserPreferredPresenceResponse, WaitForPresenceRequest, WaitForPresenceResponse,
        WatchPresencesRequest, WatchPresencesResponse, presence_service_server::PresenceService,
    },
    status::{to_status, unreadable},
};
use crate::{
    auth::Authenticator,
    presence::WATCHED_MAX,
    service::{Caller, Error, Input, ReadFrom, Service},
    telemetry::{RequestId, RequestIds},
};

/// The implementation of the generated trait.
#[derive(Debug)]
pub(super) struct Handler {
    service: Arc<Service>,
    authenticator: Authenticator,
    /// The maximum size of a message of `HoldPresence`, in bytes.
    hold_message_max: usize,
}

impl Handler {
    pub(super) const fn new(
        service: Arc<Service>,
        authenticator: Authenticator,
        hold_message_max: usize,
    ) -> Self {
        Self { service, authenticator, hold_message_max }
    }
}

/// The ids and the caller of a call, which the layer puts into the request's extensions.
#[derive(Clone, Debug)]
pub(super) struct CallContext {
    pub(super) ids: RequestIds,
    /// `None` for a method that needs no access token.
    pub(super) caller: Option<Caller>,
}

/// The caller, the message, and the conversion of this call's errors to a status.
fn unpack<T>(request: Request<T>) -> Result<(Caller, T, impl Fn(Error) -> Status + use<T>), Status> {
    let (_, mut extensions, message) = request.into_parts();
    let context = extensions.remove();
    let CallContext { ids, caller } = context.unwrap_or_else(|| CallContext {
        ids: RequestIds { own: RequestId::new(), client: None },
        caller: None,
    });
    let status = move |error: Error| {
        error.log(ids.own, ids.client.as_ref());
        to_status(&error, &ids)
    };
    let Some(caller) = caller else { return Err(status(Error::internal("the call has no caller"))) };
    Ok((caller, message, status))
}

/// The source of a read that the metadata selects.
fn read_from<T>(request: &Request<T>) -> ReadFrom {
    ReadFrom::from_header(request.metadata().get(ReadFrom::HEADER).map(MetadataValue::as_encoded_bytes))
}

#[tonic::async_trait]
impl PresenceService for Handler {
    async fn set_presence(
        &self,
        request: Request<SetPresenceRequest>,
    ) -> Result<Response<SetPresenceResponse>, Status> {
        let (caller, message, status) = unpack(request)?;
        self.service.set_presence(&caller, message.into()).await.map_err(status)?;
        Ok(Response::new(SetPresenceResponse {}))
    }

    async fn clear_presence(
        &self,
        request: Request<ClearPresenceRequest>,
    ) -> Result<Response<ClearPresenceResponse>, Status> {
        let (caller, message, status) = unpack(request)?;
        self.service.clear_presence(&caller, message.into()).await.map_err(status)?;
        Ok(Response::new(ClearPresenceResponse {}))
    }

    async fn get_presence(
        &self,
        request: Request<GetPresenceRequest>,
    ) -> Result<Response<GetPresenceResponse>, Status> {
        let from = read_from(&request);
        let (caller, message, status) = unpack(request)?;
        let (user_id, view) = (Input::text(message.user_id), view(message.view));
        let presence = self.service.get_presence(&caller, from, user_id, view).await.map_err(status)?;
        Ok(Response::new(GetPresenceResponse { presence: Some(presence.into()) }))
    }

    async fn batch_get_presences(
        &self,
        request: Request<BatchGetPresencesRequest>,
    ) -> Result<Response<BatchGetPresencesResponse>, Status> {
        let from = read_from(&request);
        let (caller, message, status) = unpack(request)?;
        let user_ids = Input::Value(message.user_ids.into_iter().map(Input::text).collect());
        let view = view(message.view);
        let presences =
            self.service.batch_get_presences(&caller, from, user_ids, view).await.map_err(status)?;
        Ok(Response::new(BatchGetPresencesResponse {
            presences: presences.into_iter().map(Into::into).collect(),
        }))
    }

    async fn batch_set_presences(
        &self,
        request: Request<BatchSetPresencesRequest>,
    ) -> Result<Response<BatchSetPresencesResponse>, Status> {
        let (caller, message, status) = unpack(request)?;
        let requests = message.requests.into_iter().map(Into::into).collect();
        let outcomes = self.service.batch_set_presences(&caller, requests).await.map_err(status)?;
        let outcomes = outcomes.into_iter().map(|outcome| pb::SetOutcome::from(outcome).into()).collect();
        Ok(Response::new(BatchSetPresencesResponse { outcomes }))
    }

    async fn batch_clear_presences(
        &self,
        request: Request<BatchClearPresencesRequest>,
    ) -> Result<Response<BatchClearPresencesResponse>, Status> {
        let (caller, message, status) = unpack(request)?;
        let requests = message.requests.into_iter().map(Into::into).collect();
        let outcomes = self.service.batch_clear_presences(&caller, requests).await.map_err(status)?;
        let outcomes = outcomes.into_iter().map(|outcome| pb::ClearOutcome::from(outcome).into()).collect();
        Ok(Response::new(BatchClearPresencesResponse { outcomes }))
    }

    async fn set_user_preferred_presence(
        &self,
        request: Request<SetUserPreferredPresenceRequest>,
    ) -> Result<Response<SetUserPreferredPresenceResponse>, Status> {
        let (caller, message, status) = unpack(request)?;
        self.service.set_user_preferred_presence(&caller, message.into()).await.map_err(status)?;
        Ok(Response::new(SetUserPreferredPresenceResponse {}))
    }

    async fn clear_user_preferred_presence(
        &self,
        request: Request<ClearUserPreferredPresenceRequest>,
    ) -> Result<Response<ClearUserPreferredPresenceResponse>, Status> {
        let (caller, message, status) = unpack(request)?;
        let user_id = Input::text(message.user_id);
        self.service.clear_user_preferred_presence(&caller, user_id).await.map_err(status)?;
        Ok(Response::new(ClearUserPreferredPresenceResponse {}))
    }

    async fn set_status_message(
        &self,
        request: Request<SetStatusMessageRequest>,
    ) -> Result<Response<SetStatusMessageResponse>, Status> {
        let (caller, message, status) = unpack(request)?;
        self.service.set_status_message(&caller, message.into()).await.map_err(status)?;
        Ok(Response::new(SetStatusMessageResponse {}))
    }

    async fn set_manual_location(
        &self,
        request: Request<SetManualLocationRequest>,
    ) -> Result<Response<SetManualLocationResponse>, Status> {
        let (caller, message, status) = unpack(request)?;
        let location = set_location(message.user_id, message.work_location_type, message.place_id);
        self.service.set_manual_location(&caller, location).await.map_err(status)?;
        Ok(Response::new(SetManualLocationResponse {}))
    }

    async fn set_automatic_location(
        &self,
        request: Request<SetAutomaticLocationRequest>,
    ) -> Result<Response<SetAutomaticLocationResponse>, Status> {
        let (caller, message, status) = unpack(request)?;
        let location = set_location(message.user_id, message.work_location_type, message.place_id);
        self.service.set_automatic_location(&caller, location).await.map_err(status)?;
        Ok(Response::new(SetAutomaticLocationResponse {}))
    }

    async fn clear_automatic_location(
        &self,
        request: Request<ClearAutomaticLocationRequest>,
    ) -> Result<Response<ClearAutomaticLocationResponse>, Status> {
        let (caller, message, status) = unpack(request)?;
        self.service.clear_automatic_location(&caller, Input::text(message.user_id)).await.map_err(status)?;
        Ok(Response::new(ClearAutomaticLocationResponse {}))
    }

    async fn clear_location(
        &self,
        request: Request<ClearLocationRequest>,
    ) -> Result<Response<ClearLocationResponse>, Status> {
        let (caller, message, status) = unpack(request)?;
        self.service.clear_location(&caller, Input::text(message.user_id)).await.map_err(status)?;
        Ok(Response::new(ClearLocationResponse {}))
    }

    async fn explain_presence(
        &self,
        request: Request<ExplainPresenceRequest>,
    ) -> Result<Response<ExplainPresenceResponse>, Status> {
        let (caller, message, status) = unpack(request)?;
        let at = optional_instant(message.at);
        let explanation = self.service.explain_presence(&caller, Input::text(message.user_id), at).await;
        Ok(Response::new(explanation.map_err(status)?.into()))
    }

    async fn list_presence_history(
        &self,
        request: Request<ListPresenceHistoryRequest>,
    ) -> Result<Response<ListPresenceHistoryResponse>, Status> {
        let (caller, message, status) = unpack(request)?;
        let page = self.service.list_presence_history(&caller, message.into()).await.map_err(status)?;
        Ok(Response::new(page.into()))
    }

    async fn erase_presence(
        &self,
        request: Request<ErasePresenceRequest>,
    ) -> Result<Response<ErasePresenceResponse>, Status> {
        let (caller, message, status) = unpack(request)?;
        let removed =
            self.service.erase_presence(&caller, Input::text(message.user_id)).await.map_err(status)?;
        Ok(Response::new(ErasePresenceResponse { removed_rows: i64::try_from(removed).unwrap_or(i64::MAX) }))
    }

    type ExportPresenceStream = BoxStream<'static, Result<ExportPresenceResponse, Status>>;

    async fn export_presence(
        &self,
        request: Request<ExportPresenceRequest>,
    ) -> Result<Response<Self::ExportPresenceStream>, Status> {
        let (caller, message, status) = unpack(request)?;
        let lines =
            self.service.export_presence(&caller, Input::text(message.user_id)).await.map_err(status)?;
        Ok(Response::new(iter(lines.into_iter().map(|line| Ok(ExportPresenceResponse { line }))).boxed()))
    }

    type WatchPresencesStream = BoxStream<'static, Result<WatchPresencesResponse, Status>>;

    async fn watch_presences(
        &self,
        request: Request<WatchPresencesRequest>,
    ) -> Result<Response<Self::WatchPresencesStream>, Status> {
        let (caller, message, status) = unpack(request)?;
        let users = watched_users(message.everyone, message.user_ids);
        let events = self.service.watch_presences(&caller, users, WATCHED_MAX, view(message.view)).await;
        let events = events.map_err(&status)?;
        Ok(Response::new(events.map(move |event| event.map(Into::into).map_err(&status)).boxed()))
    }

    type HoldPresenceStream = BoxStream<'static, Result<HoldPresenceResponse, Status>>;

    async fn hold_presence(
        &self,
        request: Request<Streaming<HoldPresenceRequest>>,
    ) -> Result<Response<Self::HoldPresenceStream>, Status> {
        let (caller, messages, status) = unpack(request)?;
        // The call itself was counted with its first message. The service's own extensions are not
        // counted, because other calls of the application would end its streams. Their number is
        // limited by the grace and by the limits of streams.
        let (authenticator, sender, mut is_first) = (self.authenticator.clone(), caller.clone(), true);
        let message_max = self.hold_message_max;
        let messages = messages.map(move |message| match message {
            Ok(message) => {
                if !mem::replace(&mut is_first, false) {
                    authenticator.count_message(&sender)?;
                }
                Ok(message.into())
            }
            Err(broken) => Err(unreadable(broken.code(), message_max).unwrap_or_else(|| {
                Error::message_malformed("The stream broke, or its message cannot be decoded.")
            })),
        });
        let events = self.service.hold_presence(&caller, messages.boxed()).await.map_err(&status)?;
        Ok(Response::new(events.map(move |event| event.map(Into::into).map_err(&status)).boxed()))
    }

    type KeepPresenceStream = BoxStream<'static, Result<KeepPresenceResponse, Status>>;

    async fn keep_presence(
        &self,
        request: Request<KeepPresenceRequest>,
    ) -> Result<Response<Self::KeepPresenceStream>, Status> {
        let (caller, message, status) = unpack(request)?;
        let events = self.service.keep_presence(&caller, message.into()).await.map_err(&status)?;
        Ok(Response::new(events.map(move |event| event.map(Into::into).map_err(&status)).boxed()))
    }

    async fn list_presences(
        &self,
        request: Request<ListPresencesRequest>,
    ) -> Result<Response<ListPresencesResponse>, Status> {
        let from = read_from(&request);
        let (caller, message, status) = unpack(request)?;
        let page = self.service.list_presences(&caller, from, message.into()).await.map_err(status)?;
        Ok(Response::new(page.into()))
    }

    async fn count_presences(
        &self,
        request: Request<CountPresencesRequest>,
    ) -> Result<Response<CountPresencesResponse>, Status> {
        let from = read_from(&request);
        let (caller, message, status) = unpack(request)?;
        let availabilities = availabilities(message.availabilities);
        let count = self.service.count_presences(&caller, from, availabilities).await.map_err(status)?;
        Ok(Response::new(count.into()))
    }

    async fn wait_for_presence(
        &self,
        request: Request<WaitForPresenceRequest>,
    ) -> Result<Response<WaitForPresenceResponse>, Status> {
        let (caller, message, status) = unpack(request)?;
        let presence = self.service.wait_for_presence(&caller, message.into()).await.map_err(status)?;
        Ok(Response::new(WaitForPresenceResponse { presence: Some(presence.into()) }))
    }

    async fn create_subscription(
        &self,
        request: Request<pb::CreateSubscriptionRequest>,
    ) -> Result<Response<pb::CreateSubscriptionResponse>, Status> {
        let (caller, message, status) = unpack(request)?;
        let created = self.service.create_subscription(&caller, message.into()).await;
        let (subscription, signing_key) = created.map_err(status)?;
        let (subscription, signing_key) = (Some(subscription.into()), signing_key.unwrap_or_default());
        Ok(Response::new(pb::CreateSubscriptionResponse { subscription, signing_key }))
    }

    async fn get_subscription(
        &self,
        request: Request<pb::GetSubscriptionRequest>,
    ) -> Result<Response<pb::GetSubscriptionResponse>, Status> {
        let (caller, message, status) = unpack(request)?;
        let found = self.service.get_subscription(&caller, Input::text(message.subscription_id)).await;
        let subscription = Some(found.map_err(status)?.into());
        Ok(Response::new(pb::GetSubscriptionResponse { subscription }))
    }

    async fn list_subscriptions(
        &self,
        request: Request<pb::ListSubscriptionsRequest>,
    ) -> Result<Response<pb::ListSubscriptionsResponse>, Status> {
        let (caller, message, status) = unpack(request)?;
        let page = self.service.list_subscriptions(&caller, message.into()).await.map_err(status)?;
        Ok(Response::new(page.into()))
    }

    async fn update_subscription(
        &self,
        request: Request<pb::UpdateSubscriptionRequest>,
    ) -> Result<Response<pb::UpdateSubscriptionResponse>, Status> {
        let (caller, message, status) = unpack(request)?;
        let updated = self.service.update_subscription(&caller, message.into()).await.map_err(status)?;
        Ok(Response::new(pb::UpdateSubscriptionResponse { subscription: Some(updated.into()) }))
    }

    async fn delete_subscription(
        &self,
        request: Request<pb::DeleteSubscriptionRequest>,
    ) -> Result<Response<pb::DeleteSubscriptionResponse>, Status> {
        let (caller, message, status) = unpack(request)?;
        let deleted = self.service.delete_subscription(&caller, Input::text(message.subscription_id)).await;
        deleted.map_err(status)?;
        Ok(Response::new(pb::DeleteSubscriptionResponse {}))
    }
}
