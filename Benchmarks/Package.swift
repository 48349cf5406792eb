// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

let package = Package(
  name: "mid-benchmarks",
  platforms: [.macOS(.v15)],
  dependencies: [
    .package(name: "mid", path: ".."),
    .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.0", traits: []),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
  ],
  targets: [
    .executableTarget(
      name: "MidCoreBenchmarks",
      dependencies: [
        .product(name: "MidCore", package: "mid"),
        .product(name: "MidOpaque", package: "mid"),
        .product(name: "Benchmark", package: "benchmark"),
      ],
      path: "Benchmarks/MidCoreBenchmarks",
      swiftSettings: strict,
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]
    ),
    // How both peers start.
    .target(
      name: "Peers",
      dependencies: [
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ],
      path: "Benchmarks/Peers",
      swiftSettings: strict
    ),
    // An answer of the same length by a bare NIO HTTP/1.1 server, for script/bench http.
    .executableTarget(
      name: "HTTP1Peer",
      dependencies: [
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        "Peers",
      ],
      path: "Benchmarks/HTTP1Peer",
      swiftSettings: strict
    ),
    // The same reply by swift-nio-http2's own server, for script/bench.
    .executableTarget(
      name: "HTTP2Peer",
      dependencies: [
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHPACK", package: "swift-nio-http2"),
        .product(name: "NIOHTTP2", package: "swift-nio-http2"),
        "Peers",
      ],
      path: "Benchmarks/HTTP2Peer",
      swiftSettings: strict
    ),
  ]
)
