package import Logging

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Writes each log event as one line: a JSON object for machines, or text for people.
///
/// Thread-safe. A line is one `write(2)`, so that lines of many threads don't mix. Metadata of the event wins over that
/// of the metadata provider, and that over the logger's own.
package struct LineLogHandler: LogHandler {
  /// How a line looks.
  package enum Style: Sendable {
    /// One JSON object: time, level, logger, message, then the metadata as fields of their own, sorted.
    case json
    /// Time, level, logger, message and `key=value`.
    case text
  }

  package var logLevel: Logger.Level
  package var metadata: Logger.Metadata = [:]
  package var metadataProvider: Logger.MetadataProvider?

  private let label: String
  private let style: Style
  private let now: @Sendable () -> Int64
  private let write: @Sendable (String) -> Void

  /// Creates a handler.
  ///
  /// - Parameters:
  ///   - label: The logger's name.
  ///   - now: The time, in milliseconds since the Unix epoch.
  ///   - write: Takes a line with its line feed.
  package init(
    label: String, level: Logger.Level, style: Style, now: @escaping @Sendable () -> Int64,
    write: @escaping @Sendable (String) -> Void
  ) {
    self.label = label
    self.logLevel = level
    self.style = style
    self.now = now
    self.write = write
  }

  package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { self.metadata[key] }
    set { self.metadata[key] = newValue }
  }

  package func log(event: LogEvent) {
    var fields = self.metadata
    if let provided = self.metadataProvider?.get() { fields.merge(provided) { _, new in new } }
    if let error = event.error { fields["error"] = .string("\(error)") }
    if let given = event.metadata { fields.merge(given) { _, new in new } }
    let line = LogLine(
      time: LogTime.text(milliseconds: self.now()), level: event.level, logger: self.label,
      message: event.message.description, fields: fields)
    switch self.style {
    case .json: self.write(line.json + "\n")
    case .text: self.write(line.text + "\n")
    }
  }
}

extension LineLogHandler {
  /// Makes every logger of the process write to standard error. Call once, before the first logger is made.
  package static func bootstrap(level: Logger.Level, format: LogFormat) {
    let style = self.style(for: format, isTerminal: isatty(STDERR_FILENO) == 1)
    let clock = SystemClock()
    LoggingSystem.bootstrap(
      { label, provider in
        var handler = LineLogHandler(
          label: label, level: level, style: style, now: { clock.wallMilliseconds() }, write: self.writeToStandardError)
        handler.metadataProvider = provider
        return handler
      }, metadataProvider: nil)
  }

  /// The style that a format stands for.
  static func style(for format: LogFormat, isTerminal: Bool) -> Style {
    switch format {
    case .json: .json
    case .text: .text
    case .auto: isTerminal ? .text : .json
    }
  }

  /// Writes a line in one system call where the system takes it whole. A line that can't be written is lost: there is
  /// nowhere to say so, and a service must not stop for its log.
  @Sendable private static func writeToStandardError(_ line: String) {
    var line = line
    line.withUTF8 { bytes in
      var rest = UnsafeRawBufferPointer(bytes)
      while let start = rest.baseAddress, !rest.isEmpty {
        #if canImport(Glibc)
          let written = Glibc.write(STDERR_FILENO, start, rest.count)
        #elseif canImport(Musl)
          let written = Musl.write(STDERR_FILENO, start, rest.count)
        #else
          let written = Darwin.write(STDERR_FILENO, start, rest.count)
        #endif
        // SAFETY: the pointer is used within withUTF8 only, and never past the count that the system says it took.
        if written > 0 { rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(written)) }
        guard written > 0 || errno == EINTR else { return }
      }
    }
  }
}
