import NIOCore
import Synchronization

/// Counts and times HTTP requests by route.
package final class HTTPMetrics: Sendable {
  private struct Key: Hashable {
    var route: String
    var status: Int
  }

  private struct Known {
    var requests: [Key: PrometheusCounter] = [:]
    var durations: [String: PrometheusHistogram] = [:]
  }

  private let registry: PrometheusRegistry
  private let known = Mutex(Known())

  /// Creates the metrics of a server.
  package init(registry: PrometheusRegistry) { self.registry = registry }

  /// Notes that the server ended a connection for breaking a bound.
  func connectionEnded(by reason: HTTPConnectionEnd) {
    self.registry.counter(MetricCatalogue.httpConnectionEnds, reason.rawValue).add(1)
  }

  /// Adds what is read at each scrape.
  func collect(_ memory: HTTPMemory) {
    self.registry.collect { writer in writer.write(MetricCatalogue.httpHeldMemory, value: Double(memory.total)) }
  }

  /// Notes an answer.
  ///
  /// - Parameter route: The pattern of the path, never the path itself: there are as many paths as callers like.
  func answered(route: String, status: Int, nanoseconds: Int64) {
    let key = Key(route: route, status: status)
    let (requests, duration) = self.known.withLock { known in
      let requests = known.requests[key] ?? self.registry.counter(MetricCatalogue.httpRequests, route, "\(status)")
      let duration = known.durations[route] ?? self.registry.histogram(MetricCatalogue.httpDuration, route)
      known.requests[key] = requests
      known.durations[route] = duration
      return (requests, duration)
    }
    requests.add(1)
    duration.observe(nanoseconds: nanoseconds, count: 1)
  }
}
