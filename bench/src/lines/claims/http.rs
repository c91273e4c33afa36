//! Claims over HTTP, through the whole platform with every role a process: ours alone, since no peer has an API.

use super::{Asked, CALLERS, Claims, best, load};
use crate::{
    lines::Line,
    measure::{Row, Scale},
    portal::{Portal, hold_workers},
};
use std::{path::Path, sync::Arc, time::Duration};
use tests::platform::Platform;
use tokio::runtime::Runtime;

/// See the module.
pub const LINE: Line = Line { name: "http", about: "quota claims over HTTP through the whole platform", run };

impl Claims for Portal {
    async fn claim(&self, tenant: usize) -> anyhow::Result<()> {
        self.claim(tenant).await
    }
}

fn run(scale: &Scale, _: &Path) -> anyhow::Result<Vec<Row>> {
    let runtime = Runtime::new()?;
    let tenants = scale.amount(200, 20);
    let platform = runtime.block_on(Platform::start())?;
    let portal = Arc::new(runtime.block_on(Portal::open(&platform, tenants))?);
    // No server is built while others are ordered.
    hold_workers(&platform)?;
    let mut rows = Vec::new();
    for (asked, words) in [(Asked::Many(tenants), format!("{tenants} tenants")), (Asked::Hot, "one hot tenant".to_owned())] {
        // One tenant may have 500 requests under way.
        let callers = best(&runtime, &portal, asked, &CALLERS[..4])?;
        let time = Duration::from_secs(scale.amount(5, 2) as u64);
        let rates = (0..scale.runs).map(|_| runtime.block_on(load(&portal, asked, callers, time))).collect::<Result<_, _>>()?;
        rows.push(Row::alone(format!("quota claims over HTTP, {words}, {callers} callers"), "1/s", rates));
    }
    Ok(rows)
}
