#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif
#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The process's own numbers, as every Prometheus client exports them, from Linux' `/proc`. Absent where there is none.
package enum ProcessMetrics {
  /// Adds the `process_…` metrics and `mid_build_info` to the registry.
  package static func register(in registry: PrometheusRegistry, version: String) {
    registry.collect { writer in
      writer.write(MetricCatalogue.buildInfo, version, self.operatingSystem, self.architecture, value: 1)
      if let stat = self.contents("/proc/self/stat").flatMap({ ProcessStatistics($0) }) {
        let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
        writer.write(MetricCatalogue.processCPU, value: Double(stat.cpuTicks) / ticks)
        writer.write(
          MetricCatalogue.processMemory, value: Double(stat.residentPages) * Double(sysconf(Int32(_SC_PAGESIZE))))
        if let boot = self.contents("/proc/stat").flatMap({ ProcessStatistics.bootTime($0) }) {
          writer.write(MetricCatalogue.processStart, value: Double(boot) + Double(stat.startTicks) / ticks)
        }
      }
      if let files = self.openFiles() {
        writer.write(MetricCatalogue.processFiles, value: Double(files))
      }
    }
  }

  private static func contents(_ path: String) -> String? {
    do {
      return String(validating: try Data(contentsOf: URL(filePath: path)), as: UTF8.self)
    } catch {
      return nil
    }
  }

  private static func openFiles() -> Int? {
    do {
      // One of the entries is the descriptor by which the folder itself is read.
      return try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count - 1
    } catch {
      return nil
    }
  }

  private static var operatingSystem: String {
    #if os(Linux)
      "linux"
    #elseif os(macOS)
      "macos"
    #else
      "other"
    #endif
  }

  private static var architecture: String {
    #if arch(x86_64)
      "x86_64"
    #elseif arch(arm64)
      "arm64"
    #else
      "other"
    #endif
  }
}

/// What `/proc/self/stat` says (proc(5)).
struct ProcessStatistics: Equatable {
  /// User and system time, in clock ticks.
  var cpuTicks: Int64
  /// The start, in clock ticks since the machine booted.
  var startTicks: Int64
  /// Resident memory, in pages.
  var residentPages: Int64

  /// Reads the line. Returns nil where it is not one.
  init?(_ text: String) {
    // The second field is the program's name in parentheses, which may itself hold spaces and parentheses.
    guard let end = text.lastIndex(of: ")") else { return nil }
    let fields = text[text.index(after: end)...].split(whereSeparator: \.isWhitespace)
    guard fields.count >= 22, let user = Int64(fields[11]), let system = Int64(fields[12]),
      let start = Int64(fields[19]), let pages = Int64(fields[21])
    else { return nil }
    self.cpuTicks = user + system
    self.startTicks = start
    self.residentPages = pages
  }

  /// When the machine booted, in Unix seconds, from `/proc/stat`.
  static func bootTime(_ text: String) -> Int64? {
    let line = text.split(separator: "\n").first { $0.hasPrefix("btime ") }
    return line.flatMap { Int64($0.dropFirst("btime ".count)) }
  }
}
