//! Problems as JSON-RPC has them: a number, a sentence, and the problem document as `data`.

use axum::http::StatusCode;
use jsonrpsee::types::ErrorObjectOwned;
use jsonrpsee::types::error::{INTERNAL_ERROR_CODE, INVALID_PARAMS_CODE};

use crate::problem::Problem;

/// Stable. What JSON-RPC has a number for gets that; anything else its HTTP status, which no other error can be mistaken for.
pub fn error(problem: &Problem) -> ErrorObjectOwned {
    let code = match problem.status() {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => INVALID_PARAMS_CODE,
        StatusCode::INTERNAL_SERVER_ERROR => INTERNAL_ERROR_CODE,
        status => i32::from(status.as_u16()),
    };
    with_code(code, problem)
}

pub fn with_code(code: i32, problem: &Problem) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code, problem.detail(), Some(problem))
}
