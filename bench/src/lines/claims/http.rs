//! Claims over HTTP, through the whole platform with every role a process: ours alone, since no peer has an API.

use super::{Asked, CALLERS, Claims, best, load};
use crate::{
    measure::{Row, Scale},
    portal::{Portal, hold_workers},
};
use std::{sync::Arc, time::Duration};
use tests::platform::Platform;
use tokio::runtime::Runtime;

impl Claims for Portal {
    async fn claim(&self, tenant: usize) -> anyhow::Result<()> {
        self.claim(tenant).await
    }
}

/// Rows for many tenants and for a hot one. The workers are held: no server is built while others are ordered.
pub fn rows(runtime: &Runtime, scale: &Scale) -> anyhow::Result<Vec<Row>> {
    let tenants = scale.amount(200, 20);
    let platform = runtime.block_on(Platform::start())?;
    let portal = Arc::new(runtime.block_on(Portal::open(&platform, tenants))?);
    hold_workers(&platform)?;
    let mut rows = Vec::new();
    for (asked, words) in [(Asked::Many(tenants), format!("{tenants} tenants")), (Asked::Hot, "one hot tenant".to_owned())] {
        // One tenant may have 500 requests under way.
        let callers = best(runtime, &portal, asked, &CALLERS[..4])?;
        let time = Duration::from_secs(scale.amount(5, 2) as u64);
        let rates = (0..scale.runs).map(|_| runtime.block_on(load(&portal, asked, callers, time))).collect::<Result<_, _>>()?;
        rows.push(Row::alone(format!("quota claims over HTTP, {words}, {callers} callers"), "1/s", rates));
    }
    Ok(rows)
}
