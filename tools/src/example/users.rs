//! `example.v1.UserService`.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use corelane::codegen::{BoxStream, Stream as _};
use corelane::{Request, Response, Status, Streaming};

use super::Store;
use super::proto::chat_request::Action;
use super::proto::user_service_server::UserService;
use super::proto::{
    BatchGetUsersRequest, BatchGetUsersResponse, ChatEvent, ChatRequest, CreateUserRequest,
    DeleteUserRequest, GetUserRequest, ListUsersRequest, ListUsersResponse, UpdateUserRequest, UploadFailure,
    UploadUsersRequest, UploadUsersResponse, User,
};
use super::room::Guest;
use super::rules;

const PAGE_USERS: usize = 50;
const PAGE_USERS_MAX: usize = 1000;
const BATCH_IDS_MAX: usize = 1000;
/// Users of one upload at most: its answer lists them all.
const UPLOAD_USERS_MAX: u64 = 100_000;
const ROOM_CHARACTERS_MAX: usize = 100;
const TEXT_CHARACTERS_MAX: usize = 4096;
/// The fields that an update can change.
const FIELDS: [&str; 5] = ["name", "email", "role", "nickname", "labels"];

/// The service; one for each worker.
#[derive(Debug)]
pub(crate) struct Users {
    store: Arc<Store>,
}

impl Users {
    pub(crate) fn new(store: Arc<Store>) -> Users {
        Users { store }
    }

    /// Enters the room that the first action of a chat names.
    fn join(&self, first: ChatRequest) -> Result<Guest, Status> {
        let Some(Action::Join(join)) = first.action else {
            return Err(rules::invalid("action", "must be a join, since it is the first"));
        };
        if !(1..=ROOM_CHARACTERS_MAX).contains(&join.room.chars().count()) {
            return Err(rules::invalid("join.room", "must have 1 to 100 characters"));
        }
        let name = self.store.users().get(join.user_id)?.name.clone();
        Guest::enter(self.store.clone(), join.room, join.user_id, name)
    }
}

impl UserService for Users {
    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<User>, Status> {
        self.store.users().get(request.get_ref().id).cloned().map(Response::new)
    }

    type ListUsersStream = BoxStream<ListUsersResponse>;

    async fn list_users(
        &self,
        request: Request<ListUsersRequest>,
    ) -> Result<Response<Self::ListUsersStream>, Status> {
        let ListUsersRequest { page_size, filter } = request.into_inner();
        let page_size = match usize::try_from(page_size) {
            Ok(0) => PAGE_USERS,
            Ok(size @ ..=PAGE_USERS_MAX) => size,
            _ => return Err(rules::invalid("page_size", "must be at most 1000")),
        };
        let filter = filter.unwrap_or_default();
        let store = self.store.clone();
        // Page by page, as the client reads: nobody holds all users at once, and no lock while waiting.
        Ok(Response::new(Box::pin(async_stream::stream! {
            let mut after = 0;
            loop {
                let users = store.users().page(after, &filter, page_size);
                let Some(last) = users.last() else { return };
                after = last.id;
                yield Ok(ListUsersResponse { users });
            }
        })))
    }

    async fn create_user(&self, request: Request<CreateUserRequest>) -> Result<Response<User>, Status> {
        let properties = request.into_inner();
        rules::user(&properties, "").finish()?;
        self.store.users().create(properties).map(Response::new)
    }

    async fn update_user(&self, request: Request<UpdateUserRequest>) -> Result<Response<User>, Status> {
        let UpdateUserRequest { user, update_mask } = request.into_inner();
        let given = user.ok_or_else(|| rules::invalid("user", "is missing"))?;
        let mut users = self.store.users();
        let mut user = users.get(given.id)?.clone();
        let mask = update_mask.map_or_else(|| FIELDS.map(str::to_owned).to_vec(), |mask| mask.paths);
        for field in mask {
            match field.as_str() {
                "name" => user.name.clone_from(&given.name),
                "email" => user.email.clone_from(&given.email),
                "role" => user.role = given.role,
                "nickname" => user.nickname.clone_from(&given.nickname),
                "labels" => user.labels.clone_from(&given.labels),
                _ => return Err(rules::invalid("update_mask", "names a field that cannot be changed")),
            }
        }
        let properties = CreateUserRequest {
            name: user.name.clone(),
            email: user.email.clone(),
            role: user.role,
            nickname: user.nickname.clone(),
            labels: user.labels.clone(),
        };
        rules::user(&properties, "user.").finish()?;
        users.replace(user).map(Response::new)
    }

    async fn delete_user(&self, request: Request<DeleteUserRequest>) -> Result<Response<()>, Status> {
        self.store.users().delete(request.get_ref().id).map(Response::new)
    }

    async fn batch_get_users(
        &self,
        request: Request<BatchGetUsersRequest>,
    ) -> Result<Response<BatchGetUsersResponse>, Status> {
        let ids = request.into_inner().ids;
        if ids.len() > BATCH_IDS_MAX {
            return Err(rules::invalid("ids", "must be at most 1000"));
        }
        let table = self.store.users();
        let mut response = BatchGetUsersResponse::default();
        for id in ids {
            match table.get(id) {
                Ok(user) => {
                    response.users.insert(id, user.clone());
                }
                Err(_) => response.missing_ids.push(id),
            }
        }
        Ok(Response::new(response))
    }

    async fn upload_users(
        &self,
        request: Request<Streaming<UploadUsersRequest>>,
    ) -> Result<Response<UploadUsersResponse>, Status> {
        let mut requests = request.into_inner();
        let mut response = UploadUsersResponse::default();
        let mut index = 0;
        while let Some(UploadUsersRequest { user }) = requests.message().await? {
            if index == UPLOAD_USERS_MAX {
                return Err(Status::resource_exhausted(format!(
                    "an upload has at most {UPLOAD_USERS_MAX} users"
                )));
            }
            let properties = user.unwrap_or_default();
            let faults = rules::user(&properties, "user.");
            let created = match faults.text() {
                text if text.is_empty() => self.store.users().create(properties),
                text => Err(Status::invalid_argument(text)),
            };
            match created {
                Ok(user) => response.created_ids.push(user.id),
                Err(status) => {
                    response.failures.push(UploadFailure { index, reason: status.message().to_owned() });
                }
            }
            index += 1;
        }
        Ok(Response::new(response))
    }

    type ChatStream = BoxStream<ChatEvent>;

    async fn chat(
        &self,
        request: Request<Streaming<ChatRequest>>,
    ) -> Result<Response<Self::ChatStream>, Status> {
        let mut actions = request.into_inner();
        let first = actions.message().await?.unwrap_or_default();
        let guest = self.join(first)?;
        Ok(Response::new(Box::pin(async_stream::try_stream! {
            loop {
                match heard_or_done(&guest, &mut actions).await? {
                    Turn::Heard(event) => yield event,
                    Turn::Did(Some(Action::Text(text))) => {
                        if text.chars().count() > TEXT_CHARACTERS_MAX {
                            Err(rules::invalid("text", "must have at most 4096 characters"))?;
                        }
                        guest.say(text);
                    }
                    Turn::Did(Some(Action::Join(_))) => Err(rules::invalid("action", "is a second join"))?,
                    // The end of the stream says the same as `leave`.
                    Turn::Did(Some(Action::Leave(())) | None) => guest.leave(),
                    Turn::Over => return,
                }
            }
        })))
    }
}

/// What comes next in a chat.
enum Turn {
    Heard(ChatEvent),
    Did(Option<Action>),
    Over,
}

/// Waits for the room and for the client, the room first.
async fn heard_or_done(guest: &Guest, actions: &mut Streaming<ChatRequest>) -> Result<Turn, Status> {
    poll_fn(|cx| {
        match guest.poll_hear(cx) {
            Poll::Ready(Some(event)) => return Poll::Ready(event.map(Turn::Heard)),
            Poll::Ready(None) => return Poll::Ready(Ok(Turn::Over)),
            Poll::Pending => {}
        }
        Pin::new(&mut *actions).poll_next(cx).map(|action| match action {
            None => Ok(Turn::Did(None)),
            Some(Ok(ChatRequest { action: Some(action) })) => Ok(Turn::Did(Some(action))),
            Some(Ok(ChatRequest { action: None })) => Err(rules::invalid("action", "is missing")),
            Some(Err(status)) => Err(status),
        })
    })
    .await
}
