//! From the options to the engine's settings.

use stdserve_config::{AccessFormat, Settings, TrustedPeer};
use stdserve_proto::forwarded::Trust;
use stdserve_proto::h1::HeadLimits;
use stdserve_server::RequestIds;

/// What the engine is told. Takes no notice of what concerns processes and listeners.
pub fn settings(options: &Settings) -> stdserve_server::Settings {
    let (limits, times) = (&options.limits, &options.timeouts);
    let mut settings = stdserve_server::Settings {
        head: HeadLimits {
            request_line: limits.request_line,
            fields: limits.request_fields,
            field_size: limits.request_field_size,
            head_total: limits.request_head,
        },
        max_body: limits.max_body,
        body_buffer: limits.body_buffer,
        buffer_total: limits.buffer_total,
        response_buffer: limits.response_buffer,
        timeouts: stdserve_server::Timeouts {
            head: times.header,
            keep_alive: times.keep_alive,
            body_period: times.body_period,
            body_rate: limits.body_rate,
            write: times.write,
            linger: times.linger,
            queue: times.queue,
            drain_idle: times.drain_idle,
        },
        threads: options.workers.threads,
        connections: limits.worker_connections,
        concurrency: limits.concurrency,
        half_close_is_gone: !options.http.half_close,
        request_ids: RequestIds::new(trust(&options.proxy.trusted)),
        request_id_field: options.http.request_id_header.clone(),
        trust: trust(&options.proxy.trusted),
        server_name: options.http.server_header.then(|| "stdserve".to_owned()),
        record_answer: matches!(&options.logging.access_format, AccessFormat::Text(text) if text.contains("}o")),
        queue: stdserve_server::Queue { size: limits.queue, newest_first: limits.lifo },
        deadlines: stdserve_server::Deadlines {
            timeout: times.request,
            slow: times.slow,
            stuck: times.deadlock,
        },
        ..stdserve_server::Settings::default()
    };
    if let Some(folder) = &options.process.temp_dir {
        settings.temporary.clone_from(folder);
    }
    settings.cohort.requests = options.workers.cohort;
    settings
}

fn trust(trusted: &[TrustedPeer]) -> Trust {
    let list = trusted.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    // The options were checked when they were read; nobody is trusted where the two should ever differ.
    Trust::parse(&list).unwrap_or_else(|_| Trust::nobody())
}
