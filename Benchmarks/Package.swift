// swift-tools-version: 6.2
import PackageDescription

let package = Package(
  name: "mid-benchmarks",
  platforms: [.macOS(.v15)],
  dependencies: [
    .package(name: "mid", path: ".."),
    .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.0", traits: []),
  ],
  targets: [
    .executableTarget(
      name: "MidCoreBenchmarks",
      dependencies: [
        .product(name: "MidCore", package: "mid"),
        .product(name: "Benchmark", package: "benchmark"),
      ],
      path: "Benchmarks/MidCoreBenchmarks",
      swiftSettings: [
        .treatAllWarnings(as: .error),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
      ],
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]
    )
  ]
)
