//! What a handler takes and gives, read off its type: the part of the document that cannot drift from it.
//!
//! Deliberately absent: where the handler answers, and what a path or a status means.

use axum::Extension;
use axum::Json;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::extract::rejection::PathRejection;
use axum::extract::rejection::QueryRejection;
use axum::response::Response;
use http::HeaderMap;
use http::StatusCode;
use utoipa::IntoParams;
use utoipa::ToSchema;
use utoipa::openapi::Ref;
use utoipa::openapi::RefOr;
use utoipa::openapi::Schema;
use utoipa::openapi::path::Parameter;
use utoipa::openapi::path::ParameterIn;

use super::etag::Tagged;
use super::routes::Desk;
use super::wire::Problem;

/// Names of types with their forms.
pub(super) type Forms = Vec<(String, RefOr<Schema>)>;

/// What the type of a handler says of it.
#[derive(Clone, Default)]
pub(super) struct Sketch {
    /// Those of the question.
    pub(super) parameters: Vec<Parameter>,
    /// The body that it takes, JSON.
    pub(super) body: Option<Ref>,
    /// What it answers when all went well, JSON, one of these; none if nothing says so.
    pub(super) answers: Vec<Ref>,
    /// The types of these, and those that they are made of.
    pub(super) forms: Forms,
}

impl Sketch {
    fn form<T: ToSchema>(&mut self) -> Ref {
        let name = T::name();
        self.forms.push((name.to_string(), T::schema()));
        T::schemas(&mut self.forms);
        Ref::from_schema_name(name)
    }
}

impl Sketch {
    /// It may answer this as well.
    pub(super) fn also_gives<T: ToSchema>(&mut self) {
        let answer = self.form::<T>();
        self.answers.push(answer);
    }
}

/// What a handler may take.
pub(super) trait Takes {
    fn takes(_sketch: &mut Sketch) {}
}

impl Takes for State<Desk> {}
impl<T> Takes for Extension<T> {}
impl Takes for HeaderMap {}
/// Its name stands in the path.
impl<T> Takes for Result<Path<T>, PathRejection> {}

impl<T: IntoParams> Takes for Result<Query<T>, QueryRejection> {
    fn takes(sketch: &mut Sketch) {
        sketch.parameters.extend(T::into_params(|| Some(ParameterIn::Query)));
    }
}

impl<T: ToSchema> Takes for Result<Json<T>, JsonRejection> {
    fn takes(sketch: &mut Sketch) {
        sketch.body = Some(sketch.form::<T>());
    }
}

/// What a handler may give.
pub(super) trait Gives {
    fn gives(_sketch: &mut Sketch) {}
}

impl Gives for Response {}

impl<T: ToSchema> Gives for Json<T> {
    fn gives(sketch: &mut Sketch) {
        sketch.also_gives::<T>();
    }
}

impl<T: ToSchema> Gives for Tagged<T> {
    fn gives(sketch: &mut Sketch) {
        sketch.also_gives::<T>();
    }
}

impl<T: Gives> Gives for (StatusCode, T) {
    fn gives(sketch: &mut Sketch) {
        T::gives(sketch);
    }
}

impl<T: Gives> Gives for Result<T, Problem> {
    fn gives(sketch: &mut Sketch) {
        T::gives(sketch);
    }
}

/// A handler that takes `A`.
pub(super) trait Handles<A> {
    fn sketch() -> Sketch;
}

macro_rules! handles {
    ($($takes:ident),*) => {
        impl<F, Fut, R, $($takes),*> Handles<($($takes,)*)> for F
        where
            F: Fn($($takes),*) -> Fut,
            Fut: Future<Output = R>,
            R: Gives,
            $($takes: Takes),*
        {
            fn sketch() -> Sketch {
                let mut sketch = Sketch::default();
                $($takes::takes(&mut sketch);)*
                R::gives(&mut sketch);
                sketch
            }
        }
    };
}

handles!();
handles!(A);
handles!(A, B);
handles!(A, B, C);
handles!(A, B, C, D);
handles!(A, B, C, D, E);
handles!(A, B, C, D, E, G);
