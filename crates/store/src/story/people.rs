//! People, the boards that they belong to, and what their logins are made of.

use chrono::TimeDelta;
use kanvoy_domain::people::{NewUser, PasswordHash, Role, UserEdit};
use kanvoy_domain::session::{Scope, Session, SessionKind};
use kanvoy_domain::{Membership, SessionId, User, UserId};

use super::world::{World, assert_refused};
use crate::{Change, StoreError};

fn unmade(world: &World, name: &str) -> User {
    let password = Some(PasswordHash("$argon2id$v=19$a".into()));
    let new = NewUser { name: name.into(), display_name: None, role: Role::Member, password };
    new.checked(UserId::from_uuid(world.uuid()), world.now()).expect("a user")
}

async fn made(world: &World, name: &str) -> User {
    let user = unmade(world, name);
    world.change(Change::NewUser(user.clone())).await.expect("is made");
    user
}

pub(super) async fn people_are_kept_and_never_removed(world: &World) {
    let ada = made(world, "ada").await;
    let bob = made(world, "bob").await;
    assert_refused!(world.change(Change::NewUser(unmade(world, "ada"))).await, StoreError::Taken("name"));
    let again = User { name: "eve".parse().expect("a name"), ..ada.clone() };
    assert_refused!(world.change(Change::NewUser(again)).await, StoreError::Taken("id"));
    assert_eq!(world.store.user(ada.id).await.expect("reads"), Some(ada.clone()));
    assert_eq!(world.store.user_named(&bob.name).await.expect("reads"), Some(bob.clone()));
    assert_eq!(world.store.user(UserId::from_uuid(world.uuid())).await.expect("reads"), None);
    assert_eq!(world.store.user_named(&"nobody".parse().expect("a name")).await.expect("reads"), None);

    let edit = UserEdit { display_name: Some("Ada L.".into()), role: Some(Role::Viewer), disabled: Some(true) };
    let (disabled, _) = ada.edited(edit, world.now()).expect("is sound");
    let disabled = disabled.with_password(None, world.now());
    world.change(Change::User(disabled.clone())).await.expect("is changed");
    assert_refused!(world.change(Change::User(disabled.clone())).await, StoreError::Conflict);
    let kept = User { rev: 2, ..disabled };
    assert_eq!(world.store.user(ada.id).await.expect("reads"), Some(kept.clone()));

    let zoe = made(world, "zoe").await;
    let first = world.store.users(None, 2).await.expect("reads");
    assert_eq!(first.items, [kept, bob]);
    let rest = world.store.users(first.next.as_deref(), 2).await.expect("reads");
    assert_eq!((rest.items, rest.next), (vec![zoe], None));
}

pub(super) async fn members_come_and_go(world: &World) {
    let (ann, ben) = (made(world, "ann").await, made(world, "ben").await);
    let (one, other) = (world.board("MEMB").await, world.board("MEMC").await);
    let joins = |user: &User, board: &kanvoy_domain::Board| Membership {
        board: board.id,
        user: user.id,
        added_at: one.created_at,
    };
    let all = vec![
        Change::NewMember(joins(&ben, &one)),
        Change::NewMember(joins(&ann, &one)),
        Change::NewMember(joins(&ann, &other)),
    ];
    world.commit(all, vec![]).await.expect("join");
    world.change(Change::NewMember(joins(&ann, &one))).await.expect("joins once more, with nothing to do");
    let members = world.store.members(one.id).await.expect("reads");
    assert_eq!(members, [(joins(&ann, &one), ann.clone()), (joins(&ben, &one), ben.clone())]);
    let boards = world.store.boards_of(ann.id).await.expect("reads");
    assert_eq!(super::world::sorted(boards), super::world::sorted(vec![one.id, other.id]));

    let stranger = Membership { user: UserId::from_uuid(world.uuid()), ..joins(&ann, &one) };
    assert_refused!(world.change(Change::NewMember(stranger)).await, StoreError::Conflict);
    world.change(Change::EndMember { board: one.id, user: ben.id }).await.expect("leaves");
    world.change(Change::EndMember { board: one.id, user: ben.id }).await.expect("has left");
    assert_eq!(world.store.boards_of(ben.id).await.expect("reads"), []);
    assert_eq!(world.store.members(one.id).await.expect("reads").len(), 1);

    // In one commit with the board, as whoever makes one becomes its member.
    let made = world.unmade_board("MEMD");
    let both = vec![Change::NewBoard(made.clone()), Change::NewMember(joins(&ben, &made))];
    world.commit(both, vec![]).await.expect("is made");
    assert_eq!(world.store.boards_of(ben.id).await.expect("reads"), [made.id]);

    world.change(Change::DeleteBoard(other.clone())).await.expect("is deleted");
    assert_eq!(world.store.boards_of(ann.id).await.expect("reads"), [one.id]);
    assert_eq!(world.store.members(other.id).await.expect("reads"), []);
    assert_refused!(world.change(Change::NewMember(joins(&ben, &other))).await, StoreError::NotFound);
    for board in [other.id, made.id, one.id] {
        world.change(Change::PurgeBoard(board)).await.expect("goes with its members");
    }
    assert_eq!(world.store.boards_of(ann.id).await.expect("reads"), []);
}

pub(super) async fn refresh_tokens_are_good_once(world: &World) {
    let now = world.now();
    let person = world.uuid().to_string();
    let session = |mark: u8, kind: SessionKind| Session {
        id: SessionId::from_uuid(world.uuid()),
        kind,
        hash: [mark; 32],
        refresh: (kind == SessionKind::Login).then_some([mark + 1; 32]),
        person: person.clone(),
        name: (kind == SessionKind::Token).then(|| "ci".to_owned()),
        scope: if kind == SessionKind::Token { Scope::Read } else { Scope::Admin },
        created_at: now,
        expires_at: now.plus(TimeDelta::days(1)),
    };
    let (login, token) = (session(100, SessionKind::Login), session(110, SessionKind::Token));
    world.commit(vec![Change::NewSession(login.clone()), Change::NewSession(token.clone())], vec![]).await.expect("ok");
    let twin = Session { id: SessionId::from_uuid(world.uuid()), ..token.clone() };
    assert_refused!(world.change(Change::NewSession(twin)).await, StoreError::Taken(_));
    assert_eq!(world.store.sessions_of(&person).await.expect("reads"), [login.clone(), token.clone()]);
    assert_eq!(world.store.session(token.hash).await.expect("reads"), Some(token.clone()));
    assert_eq!(world.store.session([101; 32]).await.expect("reads"), None, "a refresh token is no cookie");

    let until = now.plus(TimeDelta::days(2));
    let next = || Change::RefreshSession { id: login.id, from: [101; 32], to: [102; 32], expires_at: until };
    world.change(next()).await.expect("is refreshed");
    assert_refused!(world.change(next()).await, StoreError::Conflict);
    let refreshed = Session { refresh: Some([102; 32]), expires_at: until, ..login.clone() };
    assert_eq!(world.store.session_by_id(login.id).await.expect("reads"), Some(refreshed));
    world.change(Change::EndSession(login.id)).await.expect("ends");
    assert_eq!(world.store.session_by_id(login.id).await.expect("reads"), None);
    let late = Change::RefreshSession { id: login.id, from: [102; 32], to: [103; 32], expires_at: until };
    assert_refused!(world.change(late).await, StoreError::Conflict);
    world.change(Change::EndSession(token.id)).await.expect("ends");
    assert_eq!(world.store.sessions_of(&person).await.expect("reads"), []);
}
